//! Flow: which partitions should be paused.
//!
//! In: the assignment, how much each partition has in flight, what the owner and the queue want.
//! Out: what to pause and what to resume now. Always: a change is told once, because a pause throws away
//! what was fetched ahead; what is assigned anew counts as running. Pure.

use std::collections::HashSet;

use crate::{ConsumerOptions, TopicPartition, offsets::LowWaterMarks};

/// Most bytes that are taken in at once, if the bound of a partition allows for so many.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// A number of records and of bytes of their keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl Amount {
    /// Most that may be in flight of a partition.
    pub(crate) fn in_flight(options: &ConsumerOptions) -> Self {
        Self {
            records: options.in_flight_per_partition,
            bytes: options.in_flight_bytes_per_partition,
        }
    }

    /// Most that is taken in between two looks at the bound of a partition.
    pub(crate) fn batch(options: &ConsumerOptions) -> Self {
        let bound = Self::in_flight(options);
        Self {
            records: options.batch.min(bound.records / 4).max(1),
            bytes: (bound.bytes / 4).clamp(1, BATCH_BYTES),
        }
    }
}

/// What is paused now, and the bounds.
#[derive(Debug)]
pub(crate) struct Flow {
    paused: HashSet<TopicPartition>,
    full: HashSet<TopicPartition>,
    #[cfg(feature = "seeded-bugs")]
    stranded: HashSet<TopicPartition>,
    pause_at: Amount,
    resume_at: Amount,
}

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) pause: Vec<TopicPartition>,
    pub(crate) resume: Vec<TopicPartition>,
}

impl Flow {
    /// Never more than `bound` of a partition, when at most `batch` comes before the next look.
    pub(crate) fn new(bound: Amount, batch: Amount) -> Self {
        let pause_at = Amount {
            records: bound.records.saturating_sub(batch.records).max(1),
            bytes: bound.bytes.saturating_sub(batch.bytes).max(1),
        };
        Self {
            paused: HashSet::new(),
            full: HashSet::new(),
            #[cfg(feature = "seeded-bugs")]
            stranded: HashSet::new(),
            resume_at: Amount {
                records: (bound.records / 2).min(pause_at.records - 1),
                bytes: (bound.bytes / 2).min(pause_at.bytes - 1),
            },
            pause_at,
        }
    }

    /// These were assigned or revoked: they are not paused.
    pub(crate) fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.paused.remove(partition);
            self.full.remove(partition);
        }
    }

    /// What is paused stays so for good: a seeded bug.
    #[cfg(feature = "seeded-bugs")]
    pub(crate) fn strand(&mut self) {
        self.stranded.extend(self.paused.drain());
    }

    /// Whether something is paused that may go on soon.
    pub(crate) fn waits(&self) -> bool {
        !self.paused.is_empty()
    }

    /// Looks at every partition. `hold_all` pauses everything.
    pub(crate) fn look(&mut self, marks: &LowWaterMarks, hold_all: bool) -> Changes {
        let mut changes = Changes::default();
        for (partition, mark) in marks.iter() {
            #[cfg(feature = "seeded-bugs")]
            if self.stranded.contains(&partition) {
                continue;
            }
            let (records, bytes) = (mark.in_flight(), mark.open_bytes());
            if records >= self.pause_at.records || bytes >= self.pause_at.bytes {
                self.full.insert(partition.clone());
            } else if records <= self.resume_at.records && bytes <= self.resume_at.bytes {
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

    /// Records of 100 bytes.
    fn marks(in_flight: i64) -> LowWaterMarks {
        let mut marks = LowWaterMarks::default();
        marks.assign(&partition());
        for offset in 0..in_flight {
            marks.get_mut("t", 0).unwrap().start(offset, None, 100);
        }
        marks
    }

    fn flow(records: usize, bytes: usize) -> Flow {
        let options = ConsumerOptions {
            in_flight_per_partition: records,
            in_flight_bytes_per_partition: bytes,
            batch: 2,
            ..ConsumerOptions::default()
        };
        Flow::new(Amount::in_flight(&options), Amount::batch(&options))
    }

    #[test]
    fn a_partition_at_its_bound_is_paused_once_and_resumed_when_half_is_free() {
        let mut flow = flow(10, 1_000_000);
        assert_eq!(flow.look(&marks(7), false), Changes::default());
        assert_eq!(flow.look(&marks(8), false).pause, [partition()]);
        for in_flight in [10, 8, 6] {
            assert_eq!(flow.look(&marks(in_flight), false), Changes::default());
        }
        assert_eq!(flow.look(&marks(5), false).resume, [partition()]);
    }

    #[test]
    fn bytes_bound_a_partition_as_records_do_and_half_of_both_must_be_free() {
        // A batch is a quarter of the bytes, so three quarters are where it ends.
        let mut flow = flow(20, 1000);
        assert_eq!(flow.look(&marks(7), false), Changes::default());
        let mut held = marks(8);
        assert_eq!(flow.look(&held, false).pause, [partition()]);
        let mark = held.get_mut("t", 0).unwrap();
        // Finished above the mark: their bytes are free, and they still count as records.
        (6..8).for_each(|offset| assert!(mark.finish(offset)));
        assert_eq!((mark.in_flight(), mark.open_bytes()), (8, 600));
        assert_eq!(flow.look(&held, false), Changes::default());
        held.get_mut("t", 0).unwrap().let_go(5);
        assert_eq!(flow.look(&held, false).resume, [partition()]);
    }

    #[test]
    fn what_the_owner_paused_stays_paused_over_a_reassignment_and_nothing_else_does() {
        let mut flow = flow(10, 1_000_000);
        assert_eq!(flow.look(&marks(0), true).pause, [partition()]);
        flow.forget(&[partition()]);
        assert_eq!(flow.look(&marks(0), true).pause, [partition()]);
        flow.forget(&[partition()]);
        assert_eq!(flow.look(&marks(0), false), Changes::default());
        assert!(!flow.waits());
    }

    #[test]
    fn a_pause_of_everything_leaves_full_partitions_paused_when_it_ends() {
        let mut flow = flow(10, 1_000_000);
        assert_eq!(flow.look(&marks(9), true).pause, [partition()]);
        assert_eq!(flow.look(&marks(9), false), Changes::default());
        assert_eq!(flow.look(&marks(0), false).resume, [partition()]);
    }
}
