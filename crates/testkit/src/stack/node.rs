//! One node of a stack: a role, as tasks of this process or as a process of its own.
//!
//! In: a role that was started. Out: its address, its readiness, its end.
//! Always: a test sees no difference; stopping is the graceful stop of a process, and one that does not end in
//! time, or not cleanly, fails the test by its name.

use carillon_chassis::{metrics::Metrics, readiness::Readiness, tasks::Tasks};
use carillon_fixtures::eventually;

use super::{RoleProcess, STOP, Unmet};

/// A running role.
pub struct Node {
    running: Running,
    /// Where it serves, also while it does not run.
    url: Option<String>,
}

enum Running {
    Part(Part),
    Process(Box<RoleProcess>),
}

/// A role as tasks, with metrics, readiness and a shutdown of its own.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) url: Option<String>,
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) tasks: Tasks,
}

impl Part {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            url: None,
            metrics: Metrics::new(),
            readiness: Readiness::default(),
            tasks: Tasks::new(),
        }
    }
}

impl From<Part> for Node {
    fn from(part: Part) -> Self {
        let url = part.url.clone();
        Self {
            running: Running::Part(part),
            url,
        }
    }
}

impl From<RoleProcess> for Node {
    fn from(process: RoleProcess) -> Self {
        let url = process.url();
        Self {
            running: Running::Process(Box::new(process)),
            url,
        }
    }
}

impl Node {
    /// What it is called in time lines and logs.
    pub fn name(&self) -> &str {
        match &self.running {
            Running::Part(part) => &part.name,
            Running::Process(process) => &process.name,
        }
    }

    /// Waits until every condition of its readiness is met.
    ///
    /// # Panics
    /// When that takes too long, with the unmet conditions.
    pub async fn ready(&self) {
        let what = format!("{} ready", self.name());
        let ready = |unmet: &Option<Unmet>| unmet.as_ref().is_some_and(Vec::is_empty);
        eventually(&what, || self.unmet(), ready).await;
    }

    /// What its readiness misses; `None` when nobody answers that.
    pub async fn unmet(&self) -> Option<Unmet> {
        match &self.running {
            Running::Part(part) => {
                let unmet = part.readiness.unmet().into_iter();
                Some(unmet.map(|(name, why)| (name.to_owned(), why)).collect())
            }
            Running::Process(process) => process.unmet().await,
        }
    }

    /// `http://host:port`.
    ///
    /// # Panics
    /// For a role that does not serve.
    #[allow(
        clippy::expect_used,
        reason = "a test that asks a router for its URL is wrong"
    )]
    pub fn url(&self) -> &str {
        self.url.as_deref().expect("a role that serves")
    }

    /// Stops it as SIGTERM does.
    ///
    /// # Panics
    /// When it does not end in time or not cleanly: a late or panicked task, an exit code.
    pub async fn stop(self) {
        match self.running {
            Running::Part(part) => {
                let late = part.tasks.close(STOP).await;
                assert!(late.is_empty(), "{} did not stop: {late:?}", part.name);
                assert_eq!(part.tasks.panics(), 0, "a task of {} panicked", part.name);
            }
            Running::Process(mut process) => {
                let code = process.terminate().await;
                assert_eq!(code, Some(0), "{} stopped:\n{}", process.name, process.log());
            }
        }
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// On the embedded lane: tasks share their process with the test. There, the kill tests kill a whole `up`.
    pub fn kill(&mut self) {
        self.process().kill();
    }

    /// Starts it again, on its address, after its kill.
    ///
    /// # Panics
    /// As [`RoleProcess::restart`].
    pub async fn restart(&mut self) {
        self.process().restart().await;
    }

    /// The process, on the lane that has one.
    ///
    /// # Panics
    /// On the embedded lane.
    pub fn process(&mut self) -> &mut RoleProcess {
        match &mut self.running {
            Running::Process(process) => process,
            Running::Part(part) => panic!("{} is no process of its own", part.name),
        }
    }
}
