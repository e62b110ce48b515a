//! Pace: no more a second than was asked for.
//!
//! In: how many were moved. Out: when to go on. Always: what was not moved in time is not made up for in a
//! burst: behind a wait, at most a tenth of a second's worth comes at once.

use std::time::Duration;

use carillon_schemas::{dead_letter::JOB_RATE_DEFAULT, limits};
use tokio::time::Instant;

/// Steps a second, where the rate allows.
const STEPS: u32 = 20;
/// Most in one step.
const STEP_MOST: u32 = 500;
/// How far the pace may be behind.
const BEHIND: Duration = Duration::from_millis(100);

/// The pace of a job.
pub(super) struct Pace {
    per_second: u32,
    next: Instant,
}

impl Pace {
    /// From the rate that was asked for.
    pub(super) fn new(asked: Option<u32>, now: Instant) -> Self {
        let per_second = asked.unwrap_or(JOB_RATE_DEFAULT).clamp(1, limits::JOB_RATE);
        Self {
            per_second,
            next: now,
        }
    }

    /// How many are moved at once.
    pub(super) fn step(&self) -> usize {
        (self.per_second / STEPS).clamp(1, STEP_MOST) as usize
    }

    /// How many a page should have: about a second's worth.
    pub(super) fn page(&self) -> u32 {
        self.per_second.clamp(20, limits::PAGE_ROWS)
    }

    /// The moment for the next step.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// So many were moved.
    pub(super) fn moved(&mut self, count: usize, now: Instant) {
        let took = Duration::from_secs(1).mul_f64(count as f64 / f64::from(self.per_second));
        let earliest = now.checked_sub(BEHIND).unwrap_or(now);
        self.next = self.next.max(earliest) + took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_second_has_more_than_the_rate(rate in 1u32..20_000, lags in prop::collection::vec(0u64..300, 1..200)) {
            let begin = Instant::now();
            let mut pace = Pace::new(Some(rate), begin);
            let per_second = f64::from(rate.min(limits::JOB_RATE));
            let (mut now, mut moves) = (begin, Vec::new());
            for lag in lags {
                let count = pace.step();
                moves.push((now, count));
                let handled = now + Duration::from_millis(lag);
                pace.moved(count, handled);
                now = pace.next().max(handled);
            }
            for (at, &(from, _)) in moves.iter().enumerate() {
                let until = from + Duration::from_secs(1);
                let within = moves[at..].iter().take_while(|(when, _)| *when < until);
                let moved: usize = within.map(|(_, count)| count).sum();
                prop_assert!(moved as f64 <= per_second * 1.1 + pace.step() as f64, "{moved}");
            }
        }
    }

    #[test]
    fn a_rate_that_is_not_given_is_a_hundred_and_none_is_above_the_bound() {
        let now = Instant::now();
        assert_eq!(Pace::new(None, now).per_second, 100);
        assert_eq!(Pace::new(Some(0), now).per_second, 1);
        assert_eq!(Pace::new(Some(u32::MAX), now).per_second, 10_000);
        let mut slow = Pace::new(Some(1), now);
        assert_eq!((slow.step(), slow.page()), (1, 20));
        slow.moved(1, now);
        assert_eq!(slow.next() - now, Duration::from_secs(1));
    }
}
