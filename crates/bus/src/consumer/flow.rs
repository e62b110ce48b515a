//! Flow: which partitions should be paused.
//!
//! In: the assignment, how many records each partition has in flight, what the owner and the queue want.
//! Out: what to pause and what to resume now. Always: a change is told once, because a pause throws away
//! what was fetched ahead; what is assigned anew counts as running. Pure.

use std::collections::HashSet;

use crate::{TopicPartition, offsets::LowWaterMarks};

/// What is paused now, and the bounds.
#[derive(Debug)]
pub(crate) struct Flow {
    paused: HashSet<TopicPartition>,
    full: HashSet<TopicPartition>,
    pause_at: usize,
    resume_at: usize,
}

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) pause: Vec<TopicPartition>,
    pub(crate) resume: Vec<TopicPartition>,
}

impl Flow {
    /// Never more than `in_flight` records of a partition, when at most `batch` come before the next look.
    pub(crate) fn new(in_flight: usize, batch: usize) -> Self {
        let pause_at = in_flight.saturating_sub(batch).max(1);
        Self {
            paused: HashSet::new(),
            full: HashSet::new(),
            pause_at,
            resume_at: pause_at / 2,
        }
    }

    /// These were assigned or revoked: they are not paused.
    pub(crate) fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.paused.remove(partition);
            self.full.remove(partition);
        }
    }

    /// Whether something is paused that may go on soon.
    pub(crate) fn waits(&self) -> bool {
        !self.paused.is_empty()
    }

    /// Looks at every partition. `hold_all` pauses everything.
    pub(crate) fn look(&mut self, marks: &LowWaterMarks, hold_all: bool) -> Changes {
        let mut changes = Changes::default();
        for (partition, mark) in marks.iter() {
            let in_flight = mark.in_flight();
            if in_flight >= self.pause_at {
                self.full.insert(partition.clone());
            } else if in_flight <= self.resume_at {
                self.full.remove(&partition);
            }
            let wanted = hold_all || self.full.contains(&partition);
            match (wanted, self.paused.contains(&partition)) {
                (true, false) => {
                    self.paused.insert(partition.clone());
                    changes.pause.push(partition);
                }
                (false, true) => {
                    self.paused.remove(&partition);
                    changes.resume.push(partition);
                }
                _ => {}
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> TopicPartition {
        TopicPartition {
            topic: "t".into(),
            partition: 0,
        }
    }

    fn marks(in_flight: i64) -> LowWaterMarks {
        let mut marks = LowWaterMarks::default();
        marks.assign(&partition());
        for offset in 0..in_flight {
            marks.get_mut("t", 0).unwrap().start(offset, None);
        }
        marks
    }

    #[test]
    fn a_partition_at_its_bound_is_paused_once_and_resumed_when_half_is_free() {
        let mut flow = Flow::new(10, 2);
        assert_eq!(flow.look(&marks(7), false), Changes::default());
        assert_eq!(flow.look(&marks(8), false).pause, [partition()]);
        for in_flight in [10, 8, 5] {
            assert_eq!(flow.look(&marks(in_flight), false), Changes::default());
        }
        assert_eq!(flow.look(&marks(4), false).resume, [partition()]);
    }

    #[test]
    fn what_the_owner_paused_stays_paused_over_a_reassignment_and_nothing_else_does() {
        let mut flow = Flow::new(10, 2);
        assert_eq!(flow.look(&marks(0), true).pause, [partition()]);
        flow.forget(&[partition()]);
        assert_eq!(flow.look(&marks(0), true).pause, [partition()]);
        flow.forget(&[partition()]);
        assert_eq!(flow.look(&marks(0), false), Changes::default());
        assert!(!flow.waits());
    }

    #[test]
    fn a_pause_of_everything_leaves_full_partitions_paused_when_it_ends() {
        let mut flow = Flow::new(10, 2);
        assert_eq!(flow.look(&marks(9), true).pause, [partition()]);
        assert_eq!(flow.look(&marks(9), false), Changes::default());
        assert_eq!(flow.look(&marks(0), false).resume, [partition()]);
    }
}
