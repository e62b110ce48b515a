//! Readiness: whether Kafka and the store are there, told as it is.
//!
//! In: what a probe finds, and how the last request fared. Out: the conditions `kafka` and `store`.
//! Always: a condition says what is wrong now, and is met again by itself soon after nothing is.

use std::{
    future::Future,
    mem,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use carillon_chassis::{readiness::Condition, tasks::Tasks};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

/// How long a failed request speaks against its dependency, unless another one works. Without new requests
/// nobody would ever show the contrary.
const SPEAKS_FOR: Duration = Duration::from_secs(5);
/// How often a dependency that is not there is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a condition is unmet before the log says so.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// How the last request to a dependency fared.
#[derive(Default)]
pub(crate) struct Health {
    failing: AtomicBool,
    last: Mutex<Option<(Instant, String)>>,
}

impl Health {
    /// It did its part. Costs one load while all is well.
    pub(crate) fn worked(&self) {
        if self.failing.load(Ordering::Relaxed) {
            *self.last.lock() = None;
            self.failing.store(false, Ordering::Relaxed);
        }
    }

    /// It did not.
    pub(crate) fn failed(&self, cause: &str) {
        *self.last.lock() = Some((Instant::now(), cause.to_owned()));
        self.failing.store(true, Ordering::Relaxed);
    }

    /// What went wrong a moment ago, if nothing worked since.
    pub(crate) fn trouble(&self) -> Option<String> {
        let last = self.last.lock();
        let (at, cause) = last.as_ref()?;
        (at.elapsed() < SPEAKS_FOR).then(|| cause.clone())
    }
}

/// A condition, and how often what it says is looked at while it is met.
pub(crate) struct Watched {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where it is told.
    pub(crate) condition: Condition,
    /// How often it is looked at.
    pub(crate) every: Duration,
}

impl Watched {
    /// Keeps the condition true to what `probe` says, until shutdown.
    pub(crate) async fn keep<P, F>(self, tasks: Tasks, probe: P)
    where
        P: Fn() -> F,
        F: Future<Output = Result<(), String>>,
    {
        let mut unmet = Unmet::default();
        loop {
            let found = tokio::select! {
                () = tasks.shutdown().cancelled() => return,
                found = probe() => found,
            };
            let wait = match found {
                Ok(()) => {
                    self.condition.met();
                    unmet.over(self.name);
                    self.every
                }
                Err(reason) => {
                    unmet.told(self.name, &reason);
                    self.condition.unmet(reason);
                    self.every.min(LOOK_EVERY)
                }
            };
            tokio::select! {
                () = tasks.shutdown().cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

/// What the log knows: a condition that comes back within a moment, as every one does at the start, is not
/// worth a line.
#[derive(Default)]
struct Unmet {
    since: Option<Instant>,
    logged: bool,
}

impl Unmet {
    fn told(&mut self, name: &'static str, reason: &str) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.logged && since.elapsed() >= WORTH_A_LINE {
            self.logged = true;
            warn!(condition = name, reason, "condition unmet");
        }
    }

    fn over(&mut self, name: &'static str) {
        if mem::take(self).logged {
            info!(condition = name, "condition met again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use carillon_chassis::readiness::Readiness;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_speaks_until_something_works_or_some_seconds_pass() {
        let health = Health::default();
        assert_eq!(health.trouble(), None);
        health.failed("disk full");
        assert_eq!(health.trouble().as_deref(), Some("disk full"));
        health.worked();
        assert_eq!(health.trouble(), None);
        health.failed("disk full");
        tokio::time::advance(SPEAKS_FOR).await;
        assert_eq!(health.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_condition_follows_its_probe_down_and_up_again() {
        let (readiness, tasks) = (Readiness::default(), Tasks::new());
        let condition = readiness.condition("store");
        let up = Arc::new(AtomicBool::new(false));
        let probe = {
            let up = Arc::clone(&up);
            move || {
                let up = up.load(Ordering::SeqCst);
                async move { if up { Ok(()) } else { Err("gone".to_owned()) } }
            }
        };
        let second = Duration::from_secs(1);
        let watched = Watched {
            name: "store",
            condition: condition.clone(),
            every: second,
        };
        tasks.spawn("probe", watched.keep(tasks.clone(), probe));
        tokio::time::sleep(second).await;
        assert_eq!(readiness.unmet(), [("store", "gone".to_owned())]);
        up.store(true, Ordering::SeqCst);
        tokio::time::sleep(second).await;
        assert!(condition.is_met());
        up.store(false, Ordering::SeqCst);
        tokio::time::sleep(2 * second).await;
        assert!(!condition.is_met());
        assert!(tasks.close(second).await.is_empty());
    }
}
