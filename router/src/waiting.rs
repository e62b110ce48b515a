//! Waiting: the records of the ladder that are in memory and not due yet.
//!
//! In: records with their due times, in the order of their partitions. Out: those that are due, earliest first.
//! Always: pure; nothing comes out before it is due, and the records of a partition come out in their order.
//! Bounded by the ladder's consumer, which hands out so many records of a partition and pauses it then.

use std::collections::{BTreeMap, VecDeque};

use carillon_bus::TopicPartition;

/// What waits, with its due time.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    partitions: BTreeMap<TopicPartition, VecDeque<(u64, T)>>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self {
            partitions: BTreeMap::new(),
        }
    }
}

impl<T> Waiting<T> {
    /// Behind what waits of its partition. Times within a partition rise: one that is earlier than the one
    /// before it, because a clock was set back, waits for that one.
    pub(crate) fn push(&mut self, partition: &TopicPartition, due_ms: u64, what: T) {
        let line = match self.partitions.get_mut(partition) {
            Some(line) => line,
            None => self.partitions.entry(partition.clone()).or_default(),
        };
        let due_ms = line.back().map_or(due_ms, |(last, _)| due_ms.max(*last));
        line.push_back((due_ms, what));
    }

    /// When the next one is due.
    pub(crate) fn earliest(&self) -> Option<u64> {
        let heads = self.partitions.values().filter_map(|line| line.front());
        heads.map(|(due, _)| *due).min()
    }

    /// The earliest that is due, with its due time.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<(u64, T)> {
        let head = |line: &VecDeque<(u64, T)>| line.front().map_or(u64::MAX, |(due, _)| *due);
        let line = self.partitions.values_mut().min_by_key(|line| head(line))?;
        line.pop_front_if(|(due, _)| *due <= now_ms)
    }

    /// Takes out what another router is about to get.
    pub(crate) fn revoke(&mut self, partitions: &[TopicPartition]) -> Vec<T> {
        let lines = partitions.iter().filter_map(|gone| self.partitions.remove(gone));
        lines.flatten().map(|(_, what)| what).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partition(partition: i32) -> TopicPartition {
        TopicPartition {
            topic: "retry".into(),
            partition,
        }
    }

    proptest! {
        #[test]
        fn nothing_is_early_and_every_partition_keeps_its_order(
            records in prop::collection::vec((0i32..4, 0u64..1_000), 0..100), step in 1u64..300,
        ) {
            let mut waiting = Waiting::default();
            for (at, (p, due)) in records.iter().enumerate() {
                waiting.push(&partition(*p), *due, (*p, at, *due));
            }
            let (mut out, mut now) = (Vec::new(), 0);
            while let Some(next) = waiting.earliest() {
                while let Some((due, (p, at, asked))) = waiting.take_due(now) {
                    prop_assert!(due <= now && asked <= due);
                    out.push((p, at));
                }
                prop_assert!(waiting.earliest().is_none_or(|at| at > now && at >= next));
                now += step;
            }
            prop_assert_eq!(out.len(), records.len());
            for p in 0..4 {
                let of: Vec<_> = out.iter().filter(|(of, _)| *of == p).map(|(_, at)| *at).collect();
                prop_assert!(of.is_sorted());
            }
        }
    }

    #[test]
    fn what_is_revoked_comes_out_and_the_rest_stays() {
        let mut waiting = Waiting::default();
        waiting.push(&partition(0), 5, "a");
        waiting.push(&partition(1), 6, "b");
        waiting.push(&partition(0), 7, "c");
        assert_eq!(waiting.revoke(&[partition(0), partition(9)]), ["a", "c"]);
        assert_eq!(waiting.earliest(), Some(6));
        assert_eq!(waiting.take_due(5), None);
        assert_eq!(waiting.take_due(6), Some((6, "b")));
    }
}
