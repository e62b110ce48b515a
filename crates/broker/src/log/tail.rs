//! The tail: a partition's newest batches in memory, for consumers that keep up.
//!
//! In: batches as they are appended. Out: the same bytes without a system call. Always: without gaps up to the
//! log's end; over all partitions never more than the budget.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use bytes::{Bytes, BytesMut};

use crate::stats::Stats;

/// Of the whole budget, one partition may take this part, so that one flood leaves room for others.
const SHARE: usize = 32;

/// The newest batches of one partition.
pub(super) struct Tail {
    /// Bounded by `budget`: the oldest go first.
    batches: VecDeque<Cached>,
    bytes: usize,
    budget: usize,
    stats: Arc<Stats>,
}

struct Cached {
    base_offset: i64,
    next_offset: i64,
    batch: Bytes,
}

impl Tail {
    pub(super) fn new(budget: usize, stats: Arc<Stats>) -> Self {
        Self {
            batches: VecDeque::new(),
            bytes: 0,
            budget,
            stats,
        }
    }

    /// Adds the batch that was just appended.
    pub(super) fn push(&mut self, base_offset: i64, next_offset: i64, batch: Bytes) {
        let used = self
            .stats
            .tail_cache_bytes
            .fetch_add(batch.len(), Ordering::Relaxed)
            + batch.len();
        self.bytes += batch.len();
        self.batches.push_back(Cached {
            base_offset,
            next_offset,
            batch,
        });
        let mut over = used
            .saturating_sub(self.budget)
            .max(self.bytes.saturating_sub(self.budget / SHARE));
        while over > 0 {
            let Some(freed) = self.pop() else { break };
            over = over.saturating_sub(freed);
        }
    }

    fn pop(&mut self) -> Option<usize> {
        let freed = self.batches.pop_front()?.batch.len();
        self.bytes -= freed;
        self.stats.tail_cache_bytes.fetch_sub(freed, Ordering::Relaxed);
        Some(freed)
    }

    /// Whether nothing is here.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        while self.pop().is_some() {}
    }

    /// Whole batches from the one with `offset` on, below `end`; `None` when that one is not here.
    ///
    /// At most `max_bytes`, but at least one batch if `at_least_one`.
    pub(super) fn read(&self, offset: i64, end: i64, max_bytes: usize, at_least_one: bool) -> Option<Bytes> {
        if self
            .batches
            .front()
            .is_none_or(|first| first.base_offset > offset)
        {
            return None;
        }
        let from = self.batches.partition_point(|b| b.next_offset <= offset);
        let mut taken = 0;
        let mut bytes = 0;
        for cached in self.batches.range(from..) {
            let fits = bytes + cached.batch.len() <= max_bytes || (at_least_one && taken == 0);
            if cached.next_offset > end || !fits {
                break;
            }
            bytes += cached.batch.len();
            taken += 1;
        }
        Some(self.join(from, taken, bytes))
    }

    /// Bytes that could be read from `offset` up to `end`; `None` when they are not here.
    pub(super) fn available(&self, offset: i64, end: i64) -> Option<usize> {
        if self
            .batches
            .front()
            .is_none_or(|first| first.base_offset > offset)
        {
            return None;
        }
        let from = self.batches.partition_point(|b| b.next_offset <= offset);
        let visible = self.batches.range(from..).take_while(|b| b.next_offset <= end);
        Some(visible.map(|b| b.batch.len()).sum())
    }

    fn join(&self, from: usize, taken: usize, bytes: usize) -> Bytes {
        if taken == 1 {
            return self.batches[from].batch.clone();
        }
        let mut joined = BytesMut::with_capacity(bytes);
        for cached in self.batches.range(from..from + taken) {
            joined.extend_from_slice(&cached.batch);
        }
        joined.freeze()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(budget: usize) -> (Tail, Arc<Stats>) {
        let stats = Arc::new(Stats::default());
        (Tail::new(budget, Arc::clone(&stats)), stats)
    }

    #[test]
    fn whole_batches_up_to_the_end_and_the_size() {
        let (mut tail, _) = tail(100_000);
        for i in 0..10 {
            tail.push(i * 2, i * 2 + 2, Bytes::from(vec![u8::try_from(i).unwrap(); 10]));
        }
        assert_eq!(tail.read(3, 20, 25, false).unwrap(), [[1; 10], [2; 10]].concat());
        assert_eq!(tail.read(3, 4, 1000, false).unwrap(), [1; 10].as_slice());
        assert_eq!(tail.read(3, 20, 5, true).unwrap(), [1; 10].as_slice());
        assert!(tail.read(3, 20, 5, false).unwrap().is_empty());
        assert!(tail.read(20, 20, 5, true).unwrap().is_empty());
    }

    #[test]
    fn the_budget_holds_over_all_partitions() {
        let stats = Arc::new(Stats::default());
        let mut tails: Vec<_> = (0..20).map(|_| Tail::new(800, Arc::clone(&stats))).collect();
        for i in 0..400 {
            tails[usize::try_from(i).unwrap() % 20].push(i / 20, i / 20 + 1, Bytes::from(vec![0; 10]));
            assert!(stats.tail_cache_bytes.load(Ordering::Relaxed) <= 800);
        }
        assert!(tails[0].read(0, 20, 100, true).is_none());
        drop(tails);
        assert_eq!(stats.tail_cache_bytes.load(Ordering::Relaxed), 0);
    }
}
