//! Holding: waiting out trouble of the store or of Kafka, in place.
//!
//! In: failures and successes of the rooms. Out: waits that grow, paused consumers, readiness, one log line per
//! change. Always: while any room of the pipeline holds, the consumers are paused; when none does, they are not. After
//! several failures in a row of such rooms the dependency's breaker is open: one probes, the others wait for what it
//! sees. A wait ends early when the probe sees that what was away is back.

mod board;

use std::time::Duration;

use carillon_chassis::{backoff::Backoff, readiness::Condition};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use crate::{
    breaker::{Breaker, Permit},
    metrics::Held as HeldMetrics,
};
use board::Board;
pub(crate) use board::{Dependency, Site};

/// How long one room waits for what another sees, at most: a guard, because every probe ends.
const WAIT_FOR_PROBE: Duration = Duration::from_secs(5);

/// How the router waits for what is away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// First bound of the random wait.
    pub(crate) first: Duration,
    /// Greatest bound.
    pub(crate) cap: Duration,
    /// So many failures in a row open a breaker.
    pub(crate) opens_at: u32,
}

/// Everything that is held now.
pub(crate) struct Holds {
    state: Mutex<State>,
    conditions: [Condition; 2],
    /// Per dependency: it is seen again, or may be asked again.
    back: [Notify; 2],
    pause: Box<dyn Fn(bool) + Send + Sync>,
    metrics: HeldMetrics,
    waits: Waits,
}

struct State {
    board: Board,
    since: [Option<Instant>; 2],
    breakers: [Breaker; 2],
}

impl Holds {
    /// Both conditions are unmet until the probe has seen their dependency. `pause` is told of changes only.
    pub(crate) fn new(
        conditions: [Condition; 2],
        waits: Waits,
        metrics: HeldMetrics,
        pause: impl Fn(bool) + Send + Sync + 'static,
    ) -> Self {
        let mut board = Board::default();
        let _ = board.set(Site::StoreProbe, Some(Dependency::Store));
        let _ = board.set(Site::KafkaProbe, Some(Dependency::Kafka));
        let breaker = || Breaker::new(waits.opens_at, (waits.first, waits.cap));
        Self {
            state: Mutex::new(State {
                board,
                since: [None, None],
                breakers: [breaker(), breaker()],
            }),
            conditions,
            back: Default::default(),
            pause: Box::new(pause),
            metrics,
            waits,
        }
    }

    /// Attempts of one room; what it holds is let go when the value is dropped.
    pub(crate) fn attempts(&self, site: Site) -> Attempts<'_> {
        Attempts {
            holds: self,
            site,
            backoff: Backoff::new(self.waits.first, self.waits.cap),
            held: false,
            probing: None,
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

    /// Whether nobody but a probe asks this dependency now.
    #[cfg(test)]
    pub(crate) fn is_open(&self, dependency: Dependency) -> bool {
        let state = self.state.lock();
        state.breakers[dependency as usize].state() != crate::breaker::State::Closed
    }

    /// It did what a room asked of it.
    pub(crate) fn succeeded(&self, dependency: Dependency) {
        let closed = self.state.lock().breakers[dependency as usize].succeeded();
        if closed {
            self.metrics.open(dependency, false);
            info!(dependency = dependency.as_str(), "breaker closed");
            self.back[dependency as usize].notify_waiters();
        }
    }

    fn failed(&self, dependency: Dependency, probed: bool) {
        let mut state = self.state.lock();
        let opened = state.breakers[dependency as usize].failed(Instant::now(), probed);
        drop(state);
        if opened {
            self.metrics.open(dependency, true);
            self.back[dependency as usize].notify_waiters();
        }
    }

    fn ask(&self, dependency: Dependency) -> Permit {
        self.state.lock().breakers[dependency as usize].ask(Instant::now())
    }

    fn change(&self, site: Site, dependency: Option<Dependency>, reason: &str) {
        let mut state = self.state.lock();
        let paused = state.board.keeps_records();
        let before = state.board.set(site, dependency);
        if let (Some(back), None, Site::StoreProbe | Site::KafkaProbe) = (before, dependency, site) {
            state.breakers[back as usize].wake(Instant::now());
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
    probing: Option<Dependency>,
}

impl Attempts<'_> {
    /// An attempt failed because of this: holds, and waits for the time of the next. After a long outage that
    /// time may be half a minute away, so the probe, which asks every second, can end the wait.
    pub(crate) async fn wait(&mut self, dependency: Dependency, reason: &str) {
        self.held = true;
        let probed = self.probing.take() == Some(dependency);
        self.holds.hold(self.site, dependency, reason);
        let begun = Instant::now();
        if self.site.keeps_records() {
            self.holds.failed(dependency, probed);
            self.turn(dependency).await;
        } else {
            let news = self.holds.back[dependency as usize].notified();
            // Its end is news, or the time: the next attempt says which.
            let _ = tokio::time::timeout(self.backoff.next(), news).await;
        }
        self.holds.metrics.waited(dependency, begun.elapsed());
    }

    /// An attempt succeeded.
    pub(crate) fn succeeded(&mut self, dependency: Dependency) {
        self.probing = None;
        self.holds.succeeded(dependency);
    }

    /// A short wait before one more attempt at what fails alone. Holds nothing.
    pub(crate) async fn breathe(&mut self) {
        tokio::time::sleep(self.backoff.next()).await;
    }

    /// Until this room may ask.
    async fn turn(&mut self, dependency: Dependency) {
        let back = &self.holds.back[dependency as usize];
        let mut waited = false;
        loop {
            let news = back.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            let until = match self.holds.ask(dependency) {
                Permit::Go if waited => return,
                Permit::Go => Instant::now() + self.backoff.next(),
                Permit::Probe => {
                    self.probing = Some(dependency);
                    return;
                }
                Permit::WaitUntil(at) => at,
                Permit::WaitForProbe => Instant::now() + WAIT_FOR_PROBE,
            };
            tokio::select! {
                () = sleep_until(until) => {}
                () = &mut news => {}
            }
            waited = true;
        }
    }
}

impl Drop for Attempts<'_> {
    fn drop(&mut self) {
        if let Some(dependency) = self.probing {
            let mut state = self.holds.state.lock();
            state.breakers[dependency as usize].abandoned(Instant::now());
            drop(state);
            self.holds.back[dependency as usize].notify_waiters();
        }
        if self.held {
            self.holds.let_go(self.site);
        }
    }
}

#[cfg(test)]
#[path = "hold/tests.rs"]
mod tests;
