//! What the parts of one process share: time, figures, conditions, and the signal to stop.
//!
//! In: nothing. Out: handles that are cheap to clone. Always: cancelling the process is how everything stops,
//! by a signal or by a part that failed.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use carillon_chassis::{
    clock::Clock, metrics::Metrics, readiness::Readiness, signal, tasks::Tasks, telemetry,
};
use parking_lot::Mutex;

use crate::{BUILD, settings::Settings};

/// What the parts of a process share.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    /// Only what watches over the process; the parts have groups of their own.
    tasks: Tasks,
    failure: Arc<Mutex<Option<anyhow::Error>>>,
}

impl Process {
    pub(crate) fn new() -> Self {
        let metrics = Metrics::new();
        BUILD.publish(&metrics);
        Self {
            clock: Clock::system(),
            metrics,
            readiness: Readiness::default(),
            tasks: Tasks::new(),
            failure: Arc::default(),
        }
    }

    /// Lets SIGTERM and SIGINT stop the process.
    pub(crate) fn watch_signals(&self) -> Result<()> {
        signal::watch(&self.tasks).context("cannot watch for signals")
    }

    /// Stops the process because of this; the first reason counts.
    pub(crate) fn fail(&self, error: anyhow::Error) {
        self.failure.lock().get_or_insert(error);
        self.stop();
    }

    /// Begins the stop.
    pub(crate) fn stop(&self) {
        self.tasks.shutdown().cancel();
    }

    /// Waits until the process is to stop.
    pub(crate) async fn stopping(&self) {
        self.tasks.shutdown().cancelled().await;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.tasks.shutdown().is_cancelled()
    }

    /// The end: the reason of the stop, if it was a failure.
    pub(crate) fn outcome(&self) -> Result<()> {
        self.failure.lock().take().map_or(Ok(()), Err)
    }

    /// Whether every condition is met within this time.
    pub(crate) async fn ready_within(&self, patience: Duration) -> bool {
        let asked = async {
            while !self.readiness.unmet().is_empty() {
                // Conditions tell nobody when they change; a start is the only time that anybody waits.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            ready = tokio::time::timeout(patience, asked) => ready.is_ok(),
            () = self.stopping() => false,
        }
    }
}

/// Sends log lines to standard error, filtered as the settings say, or as the command does by default.
pub(crate) fn install_telemetry(settings: &Settings, default: &str) -> Result<()> {
    let log = &settings.log;
    Ok(telemetry::install(log.format, log.filter.as_deref(), default)?)
}
