//! Intake: how much of what was handed over is handled at once.
//!
//! In: records in the order in which they came. Out: batches within bounds, in the same order.
//! Always: pure; a batch has at least one record, and nothing waits for company.

use std::collections::VecDeque;

use carillon_bus::{Record, TopicPartition};

use crate::config::Batching;

/// Records that were handed over and not yet begun. Bounded by its caller, which fills it only below
/// [`Intake::wants_more`].
pub(crate) struct Intake {
    waiting: VecDeque<Record>,
    records: usize,
    bytes: usize,
}

impl Intake {
    pub(crate) fn new(batching: &Batching) -> Self {
        Self {
            waiting: VecDeque::new(),
            records: batching.records,
            bytes: batching.bytes,
        }
    }

    /// Whether a batch could be larger than what waits.
    pub(crate) fn wants_more(&self) -> bool {
        self.waiting.len() < self.records
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn push(&mut self, records: Vec<Record>) {
        self.waiting.extend(records);
    }

    /// Takes out what another router is about to get.
    pub(crate) fn take_revoked(&mut self, revoked: &[TopicPartition]) -> Vec<Record> {
        let goes = |record: &Record| {
            let same =
                |gone: &TopicPartition| gone.partition == record.partition && gone.topic == record.topic;
            revoked.iter().any(same)
        };
        let (gone, stays) = self.waiting.drain(..).partition(goes);
        self.waiting = stays;
        gone.into()
    }

    /// The next batch; empty only when nothing waits.
    pub(crate) fn take(&mut self) -> Vec<Record> {
        let mut bytes = 0;
        let mut count = 0;
        for record in self.waiting.iter().take(self.records) {
            bytes += size(record);
            if count > 0 && bytes > self.bytes {
                break;
            }
            count += 1;
        }
        self.waiting.drain(..count).collect()
    }
}

fn size(record: &Record) -> usize {
    let len = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
    len(&record.key) + len(&record.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::sample;
    use proptest::prelude::*;

    fn intake(records: usize, bytes: usize) -> Intake {
        Intake::new(&Batching {
            records,
            bytes,
            ..Batching::default()
        })
    }

    fn sized(offset: i64, len: usize) -> Record {
        let mut record = sample::record("acme", offset);
        record.value = Some(vec![b'x'; len].into());
        record
    }

    proptest! {
        #[test]
        fn batches_keep_every_record_in_order_and_within_bounds(
            sizes in prop::collection::vec(0usize..600, 0..200), records in 1usize..40, bytes in 1usize..2_000,
        ) {
            let mut intake = intake(records, bytes);
            intake.push(sizes.iter().enumerate().map(|(at, &len)| sized(at as i64, len)).collect());
            let mut seen = Vec::new();
            while !intake.is_empty() {
                let batch = intake.take();
                prop_assert!(!batch.is_empty() && batch.len() <= records);
                let total: usize = batch.iter().map(size).sum();
                prop_assert!(batch.len() == 1 || total <= bytes);
                seen.extend(batch.iter().map(|r| r.offset));
            }
            prop_assert_eq!(seen, (0..sizes.len() as i64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_was_revoked_is_taken_out_and_the_rest_is_kept() {
        let mut intake = intake(10, 10_000);
        let mut other = sample::record("acme", 1);
        other.partition = 1;
        intake.push(vec![sample::record("acme", 0), other.clone()]);
        let gone = intake.take_revoked(&[TopicPartition {
            topic: other.topic.clone(),
            partition: 0,
        }]);
        assert_eq!(gone, [sample::record("acme", 0)]);
        assert_eq!(intake.take(), [other]);
        assert!(intake.take().is_empty());
    }
}
