//! Tasks: everything that runs beside the caller, by name.
//!
//! In: futures with names. Out: one token that stops them all, and the names of those that did not stop.
//! Always: a panic ends its own task only and is logged and counted; nothing outlives [`Tasks::close`].

use std::{
    collections::HashMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::error;

/// A group of tasks with one shutdown.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: CancellationToken,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running {
    next: AtomicU64,
    panics: AtomicU64,
    tasks: Mutex<HashMap<u64, (&'static str, Option<AbortHandle>)>>,
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a future beside the caller. It should end soon after [`Tasks::shutdown`] is cancelled.
    #[allow(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = self.running.next.fetch_add(1, Ordering::Relaxed);
        self.running.tasks.lock().insert(id, (name, None));
        let running = Arc::clone(&self.running);
        let handle = self.tracker.spawn(async move {
            let _listed = Listed {
                id,
                running: Arc::clone(&running),
            };
            if AssertUnwindSafe(future).catch_unwind().await.is_err() {
                running.panics.fetch_add(1, Ordering::Relaxed);
                error!(task = name, "task panicked");
            }
        });
        if let Some(entry) = self.running.tasks.lock().get_mut(&id) {
            entry.1 = Some(handle.abort_handle());
        }
    }

    /// The token that every task watches.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// A group that stops when this one does, or earlier by itself.
    pub fn child(&self) -> Self {
        Self {
            shutdown: self.shutdown.child_token(),
            ..Self::default()
        }
    }

    /// How many tasks run.
    pub fn running(&self) -> usize {
        self.running.tasks.lock().len()
    }

    /// How many tasks ended in a panic.
    pub fn panics(&self) -> u64 {
        self.running.panics.load(Ordering::Relaxed)
    }

    /// Stops the group: cancels the token, waits up to `deadline`, aborts what still runs and names it.
    pub async fn close(&self, deadline: Duration) -> Vec<&'static str> {
        self.shutdown.cancel();
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let late: Vec<_> = self
            .running
            .tasks
            .lock()
            .values()
            .map(|(name, abort)| (*name, abort.clone()))
            .collect();
        for abort in late.iter().filter_map(|(_, abort)| abort.as_ref()) {
            abort.abort();
        }
        late.into_iter().map(|(name, _)| name).collect()
    }
}

/// Takes a task off the list however it ends, abort included.
struct Listed {
    id: u64,
    running: Arc<Running>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.running.tasks.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn closing_waits_for_those_that_stop_and_names_those_that_do_not() {
        let tasks = Tasks::new();
        let token = tasks.shutdown().clone();
        tasks.spawn("polite", async move { token.cancelled().await });
        assert!(tasks.close(Duration::from_secs(5)).await.is_empty());

        let tasks = Tasks::new();
        tasks.spawn("stubborn", std::future::pending());
        assert_eq!(tasks.close(Duration::from_millis(10)).await, ["stubborn"]);
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_task_only() {
        let tasks = Tasks::new();
        tasks.spawn("bad", async { panic!("on purpose") });
        assert!(tasks.close(Duration::from_secs(5)).await.is_empty());
        assert_eq!(tasks.panics(), 1);
    }
}
