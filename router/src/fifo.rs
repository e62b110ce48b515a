//! The line: what was handed over and is not begun, first come, first served.
//!
//! In: records in the order in which they came. Out: batches within bounds, in the same order.
//! Always: pure; a batch has at least one record, and nothing waits for company.

use std::collections::VecDeque;

use carillon_bus::TopicPartition;

use crate::work::Item;

/// Records that were handed over and not yet begun. Bounded by the consumers, which hand out
/// so many.
#[derive(Default)]
pub(crate) struct Fifo {
    waiting: VecDeque<Item>,
}

impl Fifo {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes one in; gives back one that does not fit.
    #[allow(clippy::result_large_err, reason = "what does not fit is moved on")]
    pub(crate) fn offer(&mut self, item: Item) -> Result<(), Item> {
        self.waiting.push_back(item);
        Ok(())
    }

    /// Takes out what another router is about to get.
    pub(crate) fn drop_partitions(&mut self, revoked: &[TopicPartition]) -> Vec<Item> {
        let (gone, stays) = self.waiting.drain(..).partition(|item| item.is_of(revoked));
        self.waiting = stays;
        gone.into()
    }

    /// The next batch; empty only when nothing waits.
    pub(crate) fn take(&mut self, records: usize, most_bytes: usize) -> Vec<Item> {
        let mut bytes = 0;
        let mut count = 0;
        for item in self.waiting.iter().take(records) {
            bytes += item.bytes();
            if count > 0 && bytes > most_bytes {
                break;
            }
            count += 1;
        }
        self.waiting.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::{sample, size};
    use proptest::prelude::*;

    fn sized(offset: i64, len: usize) -> Item {
        let mut item = sample::item("acme", offset);
        item.record.value = Some(vec![b'x'; len].into());
        item
    }

    proptest! {
        #[test]
        fn batches_keep_every_record_in_order_and_within_bounds(
            sizes in prop::collection::vec(0usize..600, 0..100), records in 1usize..40, bytes in 1usize..2_000,
        ) {
            let mut fifo = Fifo::default();
            for (at, &len) in sizes.iter().enumerate() {
                prop_assert!(fifo.offer(sized(at as i64, len)).is_ok());
            }
            let mut seen = Vec::new();
            while !fifo.is_empty() {
                let batch = fifo.take(records, bytes);
                prop_assert!(!batch.is_empty() && batch.len() <= records);
                let total: usize = batch.iter().map(|item| size(&item.record)).sum();
                prop_assert!(batch.len() == 1 || total <= bytes);
                seen.extend(batch.iter().map(|item| item.record.offset));
            }
            prop_assert_eq!(seen, (0..sizes.len() as i64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_was_revoked_is_taken_out_and_the_rest_is_kept() {
        let mut fifo = Fifo::default();
        let mut other = sample::record("acme", 1);
        other.partition = 1;
        let revoked = TopicPartition {
            topic: other.topic.clone(),
            partition: 0,
        };
        for record in [sample::record("acme", 0), other.clone()] {
            assert!(fifo.offer(sample::item_of(record)).is_ok());
        }
        let gone = fifo.drop_partitions(&[revoked]);
        assert_eq!(gone[0].record, sample::record("acme", 0));
        assert_eq!(fifo.take(9, 9_999)[0].record, other);
        assert!(fifo.take(9, 9_999).is_empty());
    }
}
