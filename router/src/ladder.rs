//! The ladder: which tier a record waits on, and until when.
//!
//! In: the configured tiers, an attempt. Out: a topic and a due time. Always: pure; an attempt never moves down
//! the ladder, the last tier repeats, and nothing is due before its delay has passed.

use std::sync::Arc;

use carillon_schemas::topics::RetryTopic;

/// The tier on which the first check of a dispatch waits: 30 s with the default ladder.
const FIRST_CHECK: usize = 1;

/// One tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rung {
    /// Its topic.
    pub(crate) topic: Arc<str>,
    /// How long a record waits on it, milliseconds.
    pub(crate) delay_ms: u64,
    /// The delay in words: a label of metrics.
    pub(crate) name: String,
}

impl Rung {
    /// When a record of this tier is due: its delay after the broker wrote it. A broker's time that is still to
    /// come says nothing, so that a record waits for its delay and no longer.
    pub(crate) fn due_ms(&self, written_ms: Option<i64>, now_ms: u64) -> u64 {
        let written = written_ms.and_then(|ms| u64::try_from(ms).ok());
        written.map_or(now_ms, |ms| ms.min(now_ms)) + self.delay_ms
    }
}

/// The tiers, shortest delay first; at least one.
#[derive(Debug, Clone)]
pub(crate) struct Ladder {
    rungs: Vec<Rung>,
}

impl Ladder {
    /// `None` without a tier.
    pub(crate) fn new(tiers: &[RetryTopic]) -> Option<Self> {
        let rungs = tiers.iter().map(|tier| Rung {
            topic: tier.name.as_str().into(),
            delay_ms: u64::try_from(tier.delay.delay().as_millis()).unwrap_or(u64::MAX),
            name: tier.delay.to_string(),
        });
        let rungs: Vec<_> = rungs.collect();
        (!rungs.is_empty()).then_some(Self { rungs })
    }

    /// Every tier.
    pub(crate) fn rungs(&self) -> &[Rung] {
        &self.rungs
    }

    /// Where a record waits whose attempt `n`, from 1, failed.
    pub(crate) fn after(&self, attempt: u8) -> &Rung {
        self.at(usize::from(attempt.saturating_sub(1)))
    }

    /// Where the check of a dispatch in attempt `n`, from 1, waits.
    pub(crate) fn check_after(&self, attempt: u8) -> &Rung {
        self.at(Self::check_at(attempt))
    }

    /// Whether no check comes after the one of attempt `n`.
    pub(crate) fn is_last_check(&self, attempt: u8) -> bool {
        Self::check_at(attempt) + 1 >= self.rungs.len()
    }

    fn check_at(attempt: u8) -> usize {
        FIRST_CHECK + usize::from(attempt.saturating_sub(1))
    }

    fn at(&self, at: usize) -> &Rung {
        &self.rungs[at.min(self.rungs.len() - 1)]
    }

    /// The tier of a topic.
    pub(crate) fn of_topic(&self, topic: &str) -> Option<&Rung> {
        self.rungs.iter().find(|rung| &*rung.topic == topic)
    }
}

#[cfg(test)]
mod tests {
    use carillon_schemas::topics::Topics;
    use proptest::prelude::*;

    use super::*;

    fn ladder() -> Ladder {
        Ladder::new(&Topics::new("carillon.").retry).unwrap()
    }

    #[test]
    fn each_attempt_waits_on_its_tier_and_the_last_tier_repeats() {
        let names = |attempts: std::ops::RangeInclusive<u8>| {
            let topics = attempts.map(|n| ladder().after(n).name.clone());
            topics.collect::<Vec<_>>()
        };
        assert_eq!(names(1..=7), ["5s", "30s", "2m", "10m", "1h", "1h", "1h"]);
        let checks: Vec<_> = (1..=5).map(|n| ladder().check_after(n).name.clone()).collect();
        assert_eq!(checks, ["30s", "2m", "10m", "1h", "1h"]);
        let last: Vec<_> = (1..=5).map(|n| ladder().is_last_check(n)).collect();
        assert_eq!(last, [false, false, false, true, true]);
    }

    #[test]
    fn a_ladder_of_one_tier_checks_once_and_one_of_none_is_none() {
        let one = Ladder::new(&Topics::with_ladder("x.", &["1s".parse().unwrap()]).retry).unwrap();
        assert_eq!(one.check_after(1).delay_ms, 1_000);
        assert!(one.is_last_check(1));
        assert!(Ladder::new(&[]).is_none());
    }

    #[test]
    fn a_tier_is_found_by_its_topic() {
        assert_eq!(
            ladder().of_topic("carillon.retry.2m.v1").unwrap().delay_ms,
            120_000
        );
        assert!(ladder().of_topic("carillon.redrive.v1").is_none());
    }

    proptest! {
        #[test]
        fn nothing_is_due_before_its_delay_nor_later_than_its_delay_from_now(
            written in prop::option::of(0i64..3_000_000_000_000), now in 0u64..2_000_000_000_000, attempt in 1u8..9,
        ) {
            let rung = ladder().after(attempt).clone();
            let due = rung.due_ms(written, now);
            prop_assert!(due <= now + rung.delay_ms);
            if let Some(written) = written.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms <= now) {
                prop_assert_eq!(due, written + rung.delay_ms);
            }
        }
    }
}
