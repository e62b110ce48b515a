//! Holding: waiting out trouble of the store or of Kafka, in place.
//!
//! In: failures and successes of the rooms. Out: waits that grow, a paused consumer, readiness, one log
//! line per change. Always: while any room of the pipeline holds, the consumer is paused; when none does, it
//! is not. A wait ends early when the probe sees that what was away is back.

use std::time::Duration;

use carillon_chassis::{backoff::Backoff, readiness::Condition};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tracing::{info, warn};

use crate::metrics::Held as HeldMetrics;

/// What the router stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dependency {
    /// The store.
    Store,
    /// Kafka.
    Kafka,
}

impl Dependency {
    pub(crate) const ALL: [Self; 2] = [Self::Store, Self::Kafka];

    /// The name of its readiness condition, and the value of the metrics' label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Kafka => "kafka",
        }
    }
}

/// Who holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// Looking up what was published again.
    Republished,
    /// Writing notifications.
    Persist,
    /// Producing deliveries.
    Dispatch,
    /// Writing what was dispatched.
    Settle,
    /// Producing dead letters.
    DeadLetters,
    /// The probe found the store away. Holds no record.
    StoreProbe,
    /// The probe found Kafka away. Holds no record.
    KafkaProbe,
    /// Noting receipts. From here on: rooms beside the pipeline, which do not pause it.
    Receipts,
    /// Keeping the audit trail.
    Audit,
    /// Carrying out commands. Several may hold at once; the last one to begin an attempt counts.
    Commands,
    /// Looking for what is due.
    Schedule,
}

const SITES: usize = 11;

/// Who holds for what. Pure.
#[derive(Default)]
struct Board {
    held: [Option<Dependency>; SITES],
}

impl Board {
    /// Gives what the site held for before.
    fn set(&mut self, site: Site, dependency: Option<Dependency>) -> Option<Dependency> {
        std::mem::replace(&mut self.held[site as usize], dependency)
    }

    fn holds(&self, dependency: Dependency) -> bool {
        self.held.contains(&Some(dependency))
    }

    fn keeps_records(&self) -> bool {
        self.held[..Site::StoreProbe as usize].iter().any(Option::is_some)
    }
}

/// Everything that is held now.
pub(crate) struct Holds {
    state: Mutex<State>,
    conditions: [Condition; 2],
    /// Per dependency: the probe saw it away and sees it again.
    back: [Notify; 2],
    pause: Box<dyn Fn(bool) + Send + Sync>,
    metrics: HeldMetrics,
    first: Duration,
    cap: Duration,
}

struct State {
    board: Board,
    since: [Option<Instant>; 2],
}

impl Holds {
    /// Both conditions are unmet until the probe has seen their dependency. `pause` is told of changes only.
    pub(crate) fn new(
        conditions: [Condition; 2],
        (first, cap): (Duration, Duration),
        metrics: HeldMetrics,
        pause: impl Fn(bool) + Send + Sync + 'static,
    ) -> Self {
        let mut board = Board::default();
        let _ = board.set(Site::StoreProbe, Some(Dependency::Store));
        let _ = board.set(Site::KafkaProbe, Some(Dependency::Kafka));
        Self {
            state: Mutex::new(State {
                board,
                since: [None, None],
            }),
            conditions,
            back: Default::default(),
            pause: Box::new(pause),
            metrics,
            first,
            cap,
        }
    }

    /// Attempts of one room; what it holds is let go when the value is dropped.
    pub(crate) fn attempts(&self, site: Site) -> Attempts<'_> {
        Attempts {
            holds: self,
            site,
            backoff: Backoff::new(self.first, self.cap),
            held: false,
        }
    }

    /// A room, or the probe, cannot go on because of this.
    pub(crate) fn hold(&self, site: Site, dependency: Dependency, reason: &str) {
        self.change(site, Some(dependency), reason);
    }

    /// Whether this is known to be in trouble. Before the probe has looked, nothing is.
    pub(crate) fn holds_for(&self, dependency: Dependency) -> bool {
        self.state.lock().since[dependency as usize].is_some()
    }

    /// It can.
    pub(crate) fn let_go(&self, site: Site) {
        self.change(site, None, "");
    }

    fn change(&self, site: Site, dependency: Option<Dependency>, reason: &str) {
        let mut state = self.state.lock();
        let paused = state.board.keeps_records();
        let before = state.board.set(site, dependency);
        if let (Some(back), None, Site::StoreProbe | Site::KafkaProbe) = (before, dependency, site) {
            self.back[back as usize].notify_waiters();
        }
        for (at, each) in Dependency::ALL.into_iter().enumerate() {
            if !state.board.holds(each) {
                self.over(each, at, state.since[at].take());
            } else if dependency == Some(each) {
                self.begun(each, at, &mut state.since[at], site, reason);
            }
        }
        let pause = state.board.keeps_records();
        if pause != paused {
            (self.pause)(pause);
        }
    }

    fn begun(
        &self,
        dependency: Dependency,
        at: usize,
        since: &mut Option<Instant>,
        site: Site,
        reason: &str,
    ) {
        self.conditions[at].unmet(reason);
        if since.is_none() {
            *since = Some(Instant::now());
            self.metrics.held(dependency, true);
            warn!(dependency = dependency.as_str(), room = ?site, error = reason, "holding until it is back");
        }
    }

    fn over(&self, dependency: Dependency, at: usize, since: Option<Instant>) {
        self.conditions[at].met();
        if let Some(since) = since {
            self.metrics.held(dependency, false);
            let held_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            info!(dependency = dependency.as_str(), held_ms, "back, going on");
        }
    }
}

/// One room's attempts at one thing.
pub(crate) struct Attempts<'a> {
    holds: &'a Holds,
    site: Site,
    backoff: Backoff,
    held: bool,
}

impl Attempts<'_> {
    /// An attempt failed because of this: holds, and waits for the time of the next. After a long outage that
    /// time may be half a minute away, so the probe, which asks every second, can end the wait.
    pub(crate) async fn wait(&mut self, dependency: Dependency, reason: &str) {
        self.held = true;
        self.holds.hold(self.site, dependency, reason);
        let begun = Instant::now();
        tokio::select! {
            () = tokio::time::sleep(self.backoff.next()) => {}
            () = self.holds.back[dependency as usize].notified() => {}
        }
        self.holds.metrics.waited(dependency, begun.elapsed());
    }
}

impl Drop for Attempts<'_> {
    fn drop(&mut self) {
        if self.held {
            self.holds.let_go(self.site);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use carillon_chassis::{metrics::Metrics, readiness::Readiness};

    use super::*;

    fn holds() -> (Holds, Readiness, Arc<Mutex<Vec<bool>>>) {
        holds_that_wait(Duration::from_millis(100))
    }

    fn holds_that_wait(first: Duration) -> (Holds, Readiness, Arc<Mutex<Vec<bool>>>) {
        let readiness = Readiness::default();
        let conditions = Dependency::ALL.map(|d| readiness.condition(d.as_str()));
        let pauses = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&pauses);
        let waits = (first, first.max(Duration::from_secs(30)));
        let holds = Holds::new(conditions, waits, HeldMetrics::new(&Metrics::new()), move |p| {
            told.lock().push(p)
        });
        (holds, readiness, pauses)
    }

    #[test]
    fn a_router_is_not_ready_before_the_probe_has_seen_both_and_that_pauses_nothing() {
        let (holds, readiness, pauses) = holds();
        assert_eq!(readiness.unmet().len(), 2);
        holds.let_go(Site::StoreProbe);
        assert_eq!(readiness.unmet(), [("kafka", "starting".to_owned())]);
        holds.let_go(Site::KafkaProbe);
        assert!(readiness.unmet().is_empty() && pauses.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_consumer_is_paused_while_any_room_holds() {
        let (holds, readiness, pauses) = holds();
        holds.let_go(Site::StoreProbe);
        holds.let_go(Site::KafkaProbe);
        let mut persist = holds.attempts(Site::Persist);
        let mut settle = holds.attempts(Site::Settle);
        persist.wait(Dependency::Store, "locked").await;
        settle.wait(Dependency::Store, "locked").await;
        persist.wait(Dependency::Store, "still locked").await;
        assert_eq!(readiness.unmet(), [("store", "still locked".to_owned())]);
        drop(persist);
        assert_eq!(*pauses.lock(), [true]);
        drop(settle);
        assert_eq!(*pauses.lock(), [true, false]);
        assert!(readiness.unmet().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_room_beside_the_pipeline_is_told_but_does_not_pause_it() {
        let (holds, readiness, pauses) = holds();
        holds.let_go(Site::StoreProbe);
        holds.let_go(Site::KafkaProbe);
        let mut receipts = holds.attempts(Site::Receipts);
        receipts.wait(Dependency::Store, "locked").await;
        assert_eq!(readiness.unmet(), [("store", "locked".to_owned())]);
        assert!(holds.holds_for(Dependency::Store) && !holds.holds_for(Dependency::Kafka));
        drop(receipts);
        assert!(readiness.unmet().is_empty() && pauses.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_the_probe_sees_what_was_waited_for() {
        let year = Duration::from_secs(365 * 86_400);
        let (holds, _, _) = holds_that_wait(year);
        holds.let_go(Site::KafkaProbe);
        let mut persist = holds.attempts(Site::Persist);
        let begun = Instant::now();
        let seen = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            // Kafka was seen all the time: that is no news for who waits for the store.
            holds.let_go(Site::KafkaProbe);
            tokio::time::sleep(Duration::from_secs(4)).await;
            holds.let_go(Site::StoreProbe);
        };
        tokio::join!(persist.wait(Dependency::Store, "away"), seen);
        assert_eq!(begun.elapsed().as_secs(), 7);
    }

    #[test]
    fn an_attempt_that_never_failed_holds_nothing() {
        let (holds, _, pauses) = holds();
        drop(holds.attempts(Site::Persist));
        assert!(pauses.lock().is_empty());
    }
}
