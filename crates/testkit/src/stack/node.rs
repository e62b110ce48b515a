//! One node of a stack: a role with its own metrics, readiness and tasks.
//!
//! In: a role that has been made. Out: its address, its figures, its end.
//! Always: stopping is the graceful stop of a process; a task that does not end fails the test by its name.

use carillon_chassis::{metrics::Metrics, readiness::Readiness, tasks::Tasks};

use super::STOP;
use crate::eventually::eventually;

/// A running role.
pub struct Node {
    /// What a process would be called.
    pub name: String,
    /// `http://host:port`, for roles that serve.
    pub url: Option<String>,
    /// Its figures.
    pub metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) tasks: Tasks,
}

impl Node {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            url: None,
            metrics: Metrics::new(),
            readiness: Readiness::default(),
            tasks: Tasks::new(),
        }
    }

    /// Waits until every condition of its readiness is met.
    ///
    /// # Panics
    /// When that takes too long, with the unmet conditions.
    pub async fn ready(&self) {
        let unmet = || async { self.readiness.unmet() };
        eventually(&format!("{} ready", self.name), unmet, |unmet| unmet.is_empty()).await;
    }

    /// What its readiness misses.
    pub fn unmet(&self) -> Vec<(&'static str, String)> {
        self.readiness.unmet()
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

    /// Stops it as SIGTERM would.
    ///
    /// # Panics
    /// When a task does not end in time, or one has panicked.
    pub async fn stop(self) {
        let late = self.tasks.close(STOP).await;
        assert!(late.is_empty(), "{} did not stop: {late:?}", self.name);
        assert_eq!(self.tasks.panics(), 0, "a task of {} panicked", self.name);
    }
}
