//! A part of a process: something that runs until it is told to stop.
//!
//! In: a name and its work. Out: a handle that stops it and waits.
//! Always: work that ends before it was told to, by an error or a panic, ends the process.

use std::{future::Future, time::Duration};

use anyhow::{Result, anyhow, bail};
use carillon_chassis::tasks::Tasks;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Process;

/// Lets what ends by itself end (clients whose owners are gone), then closes the group.
pub(super) async fn settle(tasks: &Tasks, deadline: Duration) {
    let idle = async {
        while tasks.running() > 0 {
            // A group tells nobody that it is empty while it is open.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(deadline, idle).await.is_err() {
        let late = tasks.close(Duration::ZERO).await;
        tracing::debug!(tasks = ?late, "clients did not end in time");
    }
}

/// A running part.
pub(crate) struct Part {
    name: &'static str,
    stop: CancellationToken,
    ended: oneshot::Receiver<Result<()>>,
    tasks: Tasks,
}

impl Part {
    /// Starts work that gets a token to watch.
    pub(crate) fn start<F>(
        name: &'static str,
        process: &Process,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (tasks, stop, process) = (Tasks::new(), CancellationToken::new(), process.clone());
        let (tell, ended) = oneshot::channel();
        let (work, told) = (work(stop.clone()), stop.clone());
        tasks.spawn(name, async move {
            let mut alive = Alive {
                name,
                process,
                told,
                finished: false,
            };
            let outcome = work.await;
            alive.finished(&outcome);
            // Nobody listens when the process ends without waiting.
            tell.send(outcome).unwrap_or_default();
        });
        Self {
            name,
            stop,
            ended,
            tasks,
        }
    }

    /// Tells it to stop and waits for its end.
    ///
    /// # Errors
    /// Its own; that it panicked; that it did not end in time (then it is aborted).
    pub(crate) async fn stop(self, deadline: Duration) -> Result<()> {
        self.stop.cancel();
        let name = self.name;
        match tokio::time::timeout(deadline, self.ended).await {
            Ok(Ok(outcome)) => outcome.map_err(|error| error.context(format!("{name} did not stop cleanly"))),
            Ok(Err(_)) => bail!("{name} panicked"),
            Err(_) => {
                self.tasks.close(Duration::ZERO).await;
                bail!("{name} did not stop within {} s", deadline.as_secs())
            }
        }
    }
}

/// Ends the process when the work is gone before it was told to go.
struct Alive {
    name: &'static str,
    process: Process,
    told: CancellationToken,
    finished: bool,
}

impl Alive {
    fn finished(&mut self, outcome: &Result<()>) {
        self.finished = true;
        if self.told.is_cancelled() {
            return;
        }
        self.process.fail(match outcome {
            Ok(()) => anyhow!("{} ended by itself", self.name),
            Err(error) => anyhow!("{} failed: {error:#}", self.name),
        });
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if !self.finished && !self.told.is_cancelled() {
            self.process.fail(anyhow!("{} panicked", self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_by_itself_ends_the_process() {
        let process = Process::new();
        let part = Part::start("clumsy", &process, |_| async { bail!("stumbled") });
        process.stopping().await;
        assert!(
            process
                .outcome()
                .unwrap_err()
                .to_string()
                .contains("clumsy failed: stumbled")
        );
        assert!(part.stop(Duration::from_secs(5)).await.is_err());

        let process = Process::new();
        let part = Part::start("nervous", &process, |_| async { panic!("on purpose") });
        process.stopping().await;
        assert!(
            process
                .outcome()
                .unwrap_err()
                .to_string()
                .contains("nervous panicked")
        );
        assert!(part.stop(Duration::from_secs(5)).await.is_err());
    }

    #[tokio::test]
    async fn a_part_that_was_told_to_stop_leaves_the_process_alone() {
        let process = Process::new();
        let part = Part::start("polite", &process, |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        assert!(part.stop(Duration::from_secs(5)).await.is_ok());
        assert!(!process.is_stopping());
    }
}
