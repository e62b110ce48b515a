//! Poll threads: librdkafka is polled on OS threads with names.
//!
//! In: a loop. Out: a thread that ends when its handle is dropped or closed. Always: waiting for one has a
//! deadline, because closing a librdkafka consumer can hang; one that does not end is left behind, counted
//! and logged.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Builder,
    time::Duration,
};

use carillon_chassis::tasks::Tasks;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::{BusError, client::Watch};

/// Told to a poll thread: end soon.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A running poll thread. Dropping it tells the thread to end and does not wait.
pub(crate) struct PollThread {
    name: &'static str,
    watch: Arc<Watch>,
    stop: Stop,
    ended: watch::Receiver<bool>,
}

impl PollThread {
    /// Starts a thread, and, where there are tasks, one that logs if it ends unasked.
    pub(crate) fn start(
        name: &'static str,
        watch: Arc<Watch>,
        tasks: Option<&Tasks>,
        run: impl FnOnce(&Stop) + Send + 'static,
    ) -> Result<Self, BusError> {
        let stop = Stop::default();
        let (end, ended) = watch::channel(false);
        let seen = stop.clone();
        Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                run(&seen);
                end.send_replace(true);
            })
            .map_err(|e| BusError::Client(format!("starting a thread: {e}")))?;
        if let Some(tasks) = tasks {
            tasks.spawn(
                name,
                supervise(name, stop.clone(), ended.clone(), tasks.shutdown().clone()),
            );
        }
        Ok(Self {
            name,
            watch,
            stop,
            ended,
        })
    }

    /// Tells the thread to end and waits for it, but not beyond the deadline.
    pub(crate) async fn close(mut self, deadline: Duration) -> Result<(), BusError> {
        self.stop.set();
        let ended = tokio::time::timeout(deadline, self.ended.wait_for(|ended| *ended)).await;
        if ended.is_ok() {
            return Ok(());
        }
        self.watch.metrics.abandoned.inc();
        warn!(
            thread = self.name,
            "a kafka client did not end in time and is left behind"
        );
        Err(BusError::DeadlineExceeded(self.name))
    }
}

impl Drop for PollThread {
    fn drop(&mut self) {
        self.stop.set();
    }
}

impl fmt::Debug for PollThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollThread")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Ends with the thread, or with the process; the thread's owner decides when the thread ends.
async fn supervise(
    name: &'static str,
    stop: Stop,
    mut ended: watch::Receiver<bool>,
    shutdown: tokio_util::sync::CancellationToken,
) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        result = ended.wait_for(|ended| *ended) => match result {
            Err(_) => error!(thread = name, "a kafka poll thread panicked"),
            Ok(_) if !stop.is_set() => error!(thread = name, "a kafka poll thread ended unasked"),
            Ok(_) => {}
        }
    }
}
