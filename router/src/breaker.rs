//! The breaker: whether a dependency is asked, by whom, and when again.
//!
//! In: failures and successes, the time. Out: go, probe, or wait. Always: pure; closed until several failures in
//! a row without a success between them; open until a wait that grows and is random has passed; then one asker
//! probes while the others wait, and what it sees closes or opens it for all.

use std::time::Duration;

use carillon_chassis::backoff::Backoff;
use tokio::time::Instant;

/// One dependency's breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    failures: u32,
    opens_at: u32,
    backoff: Backoff,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Everybody asks.
    Closed,
    /// Nobody asks before this moment.
    Open(Instant),
    /// One asks.
    HalfOpen,
}

/// What an asker may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Ask.
    Go,
    /// Ask, for all: what is seen must be told.
    Probe,
    /// Not before this moment.
    WaitUntil(Instant),
    /// Until another has told what it saw.
    WaitForProbe,
}

impl Breaker {
    /// Opens at so many failures in a row; waits between the bounds.
    pub(crate) fn new(opens_at: u32, (first, cap): (Duration, Duration)) -> Self {
        Self {
            state: State::Closed,
            failures: 0,
            opens_at: opens_at.max(1),
            backoff: Backoff::new(first, cap),
        }
    }

    /// How it stands.
    #[cfg(test)]
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// It answered. Says whether that closes the breaker.
    pub(crate) fn succeeded(&mut self) -> bool {
        self.failures = 0;
        if self.state == State::Closed {
            return false;
        }
        self.state = State::Closed;
        self.backoff.reset();
        true
    }

    /// It did not; `probed` when that is what the probe saw. Says whether that opens the breaker.
    pub(crate) fn failed(&mut self, now: Instant, probed: bool) -> bool {
        self.failures = self.failures.saturating_add(1);
        match self.state {
            // Begun before it opened: that is no news.
            State::Open(_) => false,
            State::HalfOpen if !probed => false,
            State::Closed if self.failures < self.opens_at => false,
            State::Closed | State::HalfOpen => {
                self.state = State::Open(now + self.backoff.next());
                true
            }
        }
    }

    /// What one who wants to ask may do.
    pub(crate) fn ask(&mut self, now: Instant) -> Permit {
        match self.state {
            State::Closed => Permit::Go,
            State::HalfOpen => Permit::WaitForProbe,
            State::Open(until) if now < until => Permit::WaitUntil(until),
            State::Open(_) => {
                self.state = State::HalfOpen;
                Permit::Probe
            }
        }
    }

    /// There is news of the dependency: the wait is over.
    pub(crate) fn wake(&mut self, now: Instant) {
        if let State::Open(_) = self.state {
            self.state = State::Open(now);
        }
    }

    /// Who probed has given up without an answer: another may.
    pub(crate) fn abandoned(&mut self, now: Instant) {
        if self.state == State::HalfOpen {
            self.state = State::Open(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

    fn open(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(3, WAITS);
        assert_eq!([(); 3].map(|()| breaker.failed(now, false)), [false, false, true]);
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_a_success_between_them_keeps_it_closed() {
        let now = Instant::now();
        let mut breaker = Breaker::new(3, WAITS);
        for _ in 0..10 {
            assert!(!breaker.failed(now, false) && !breaker.failed(now, false));
            breaker.succeeded();
        }
        assert_eq!(breaker.ask(now), Permit::Go);
        assert!(!breaker.failed(now, false) && !breaker.failed(now, false) && breaker.failed(now, false));
        assert!(matches!(breaker.state(), State::Open(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_wait_one_probes_and_what_it_sees_counts_for_all() {
        let now = Instant::now();
        let mut breaker = open(now);
        let later = now + WAITS.0;
        assert_eq!(breaker.ask(later), Permit::Probe);
        assert_eq!(breaker.ask(later), Permit::WaitForProbe);
        assert!(breaker.failed(later, true));
        assert_eq!(breaker.ask(later + WAITS.1), Permit::Probe);
        assert!(breaker.succeeded());
        assert_eq!((breaker.ask(later), breaker.ask(later)), (Permit::Go, Permit::Go));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_gives_up_leaves_its_place_and_news_end_the_wait() {
        let now = Instant::now();
        let mut breaker = open(now);
        breaker.wake(now);
        assert_eq!(breaker.ask(now), Permit::Probe);
        breaker.abandoned(now);
        assert_eq!(breaker.ask(now), Permit::Probe);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Ask,
        Answer(bool),
        Pass(u64),
        GiveUp,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Ask),
            any::<bool>().prop_map(Step::Answer),
            (0u64..40_000).prop_map(Step::Pass),
            Just(Step::GiveUp),
        ]
    }

    proptest! {
        #[test]
        fn at_most_one_probes_and_nobody_waits_for_ever(steps in prop::collection::vec(step(), 0..80)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(2, WAITS);
            let mut probing = false;
            for step in steps {
                match step {
                    Step::Ask => match breaker.ask(now) {
                        Permit::Probe => {
                            prop_assert!(!probing);
                            probing = true;
                        }
                        Permit::WaitForProbe => prop_assert!(probing),
                        Permit::WaitUntil(at) => prop_assert!(at > now && at <= now + WAITS.1),
                        Permit::Go => prop_assert!(!probing),
                    },
                    Step::Answer(true) => {
                        breaker.succeeded();
                        probing = false;
                    }
                    Step::Answer(false) => {
                        breaker.failed(now, probing);
                        probing &= breaker.state() == State::HalfOpen;
                    }
                    Step::Pass(ms) => now += Duration::from_millis(ms),
                    Step::GiveUp if probing => {
                        breaker.abandoned(now);
                        probing = false;
                    }
                    Step::GiveUp => {}
                }
            }
        }
    }
}
