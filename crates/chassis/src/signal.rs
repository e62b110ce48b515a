//! Signals: how an operator stops a process.
//!
//! In: SIGTERM and SIGINT. Out: the first begins a graceful stop. Always: the second exits at once.

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::tasks::Tasks;

/// Exit status after a second signal: 128 + SIGINT, as shells count it.
const EXIT_BY_SIGNAL: i32 = 130;

/// Cancels the group at the first signal and exits the process at the second.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn watch(tasks: &Tasks) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = tasks.shutdown().clone();
    // Not in the group: it must outlive the graceful stop to see the second signal.
    Tasks::new().spawn("signals", async move {
        for seen in 0_u8.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if seen > 0 {
                warn!("second signal, exiting at once");
                std::process::exit(EXIT_BY_SIGNAL);
            }
            info!("signal received, stopping");
            shutdown.cancel();
        }
    });
    Ok(())
}
