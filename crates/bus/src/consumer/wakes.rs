//! Wakes: when brokers should be made to say something after partitions were resumed.
//!
//! In: when partitions were resumed. Out: a few moments shortly after. Always: pure; the last resumption counts.
//!
//! librdkafka does not wake the thread of a broker when it resumes a partition (2.12.1:
//! `rd_kafka_toppar_pause_resume`). When a fetch ended meanwhile and that thread found everything paused, it
//! sleeps for up to a second: 1.0 s was measured for partitions that stay while others go. A request to the
//! broker wakes it, and so does the answer; but the resumption itself is done a moment after it was asked for,
//! which nothing tells, so it is tried more than once.

use std::time::{Duration, Instant};

/// When, after a resumption. The last is for a machine that is busy.
const AFTER: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
];

/// What is still to be done.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    since: Option<Instant>,
    done: usize,
}

impl Wakes {
    /// Partitions were resumed.
    pub(super) fn resumed(&mut self, now: Instant) {
        self.since = Some(now);
        self.done = 0;
    }

    /// Whether more is to come.
    pub(super) fn is_pending(&self) -> bool {
        self.since.is_some()
    }

    /// Whether it is time; if so, it is done.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let Some(since) = self.since else { return false };
        let passed = AFTER.iter().filter(|after| since + **after <= now).count();
        let due = passed > self.done;
        self.done = passed;
        if passed == AFTER.len() {
            self.since = None;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_resumption_each_moment_comes_once_and_a_late_look_counts_for_all() {
        let mut wakes = Wakes::default();
        let begun = Instant::now();
        assert!(!wakes.is_due(begun) && !wakes.is_pending());
        wakes.resumed(begun);
        assert!(wakes.is_due(begun) && !wakes.is_due(begun));
        assert!(wakes.is_due(begun + AFTER[2]) && wakes.is_pending());
        assert!(wakes.is_due(begun + Duration::from_secs(1)) && !wakes.is_pending());
    }
}
