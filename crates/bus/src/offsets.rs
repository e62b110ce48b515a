//! Offsets: how far a partition is finished.
//!
//! In: records handed out and records finished, in any order. Out: the offset to commit.
//! Always: what is to be committed is at or below the lowest unfinished record; finishing what was not
//! handed out, or what is no longer held, has no effect. Pure: no clock, no I/O.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::TopicPartition;

/// What is handed out of one partition, from the lowest unfinished record up.
#[derive(Debug, Clone, Default)]
pub struct LowWaterMark {
    /// By offset, ascending; the first is unfinished.
    window: VecDeque<Entry>,
    /// Where the next record is expected: one above the highest that was handed out.
    next: Option<i64>,
    committed: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: i64,
    finished: bool,
}

impl LowWaterMark {
    /// A record was handed out. When the reader went back (the log was cut, or its offset was reset), what
    /// stands at or above the record is forgotten: it will be handed out again.
    pub fn start(&mut self, offset: i64) {
        if self.next.is_some_and(|next| offset < next) {
            let below = self.window.partition_point(|e| e.offset < offset);
            self.window.truncate(below);
        }
        self.window.push_back(Entry {
            offset,
            finished: false,
        });
        self.next = Some(offset + 1);
    }

    /// A record was finished. Returns whether that had an effect.
    pub fn finish(&mut self, offset: i64) -> bool {
        let Ok(at) = self.window.binary_search_by_key(&offset, |e| e.offset) else {
            return false;
        };
        if std::mem::replace(&mut self.window[at].finished, true) {
            return false;
        }
        while self.window.front().is_some_and(|e| e.finished) {
            self.window.pop_front();
        }
        true
    }

    /// The offset to commit: of the lowest unfinished record, or one above the highest. None before the
    /// first record.
    pub fn mark(&self) -> Option<i64> {
        self.window.front().map(|e| e.offset).or(self.next)
    }

    /// How many records stand at or above the mark: what a crash right after a commit repeats.
    pub fn in_flight(&self) -> usize {
        self.window.len()
    }

    /// The mark, unless it is committed already.
    pub fn due(&self) -> Option<i64> {
        self.mark().filter(|mark| self.committed != Some(*mark))
    }

    /// A commit was acknowledged.
    pub fn committed(&mut self, offset: i64) {
        self.committed = Some(offset);
    }
}

/// The low-water marks of the partitions that are assigned now.
#[derive(Debug, Default)]
pub struct LowWaterMarks {
    topics: HashMap<Arc<str>, HashMap<i32, LowWaterMark>>,
}

impl LowWaterMarks {
    /// A partition was assigned; it starts afresh, whatever was known of it.
    pub fn assign(&mut self, partition: &TopicPartition) {
        self.topics
            .entry(Arc::clone(&partition.topic))
            .or_default()
            .insert(partition.partition, LowWaterMark::default());
    }

    /// A partition was revoked. Returns what was known of it.
    pub fn revoke(&mut self, partition: &TopicPartition) -> Option<LowWaterMark> {
        let partitions = self.topics.get_mut(&*partition.topic)?;
        let mark = partitions.remove(&partition.partition);
        if partitions.is_empty() {
            self.topics.remove(&*partition.topic);
        }
        mark
    }

    /// The mark of a partition, if it is assigned.
    pub fn get(&self, topic: &str, partition: i32) -> Option<&LowWaterMark> {
        self.topics.get(topic)?.get(&partition)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, topic: &str, partition: i32) -> Option<&mut LowWaterMark> {
        self.topics.get_mut(topic)?.get_mut(&partition)
    }

    /// The partitions that are assigned, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (TopicPartition, &LowWaterMark)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(&partition, mark)| {
                let topic = Arc::clone(topic);
                (TopicPartition { topic, partition }, mark)
            })
        })
    }

    /// What a commit should say now: partitions whose mark moved since the last acknowledged commit.
    pub fn due(&self) -> Vec<(TopicPartition, i64)> {
        self.iter()
            .filter_map(|(partition, mark)| Some((partition, mark.due()?)))
            .collect()
    }
}

#[cfg(test)]
#[path = "offsets/tests.rs"]
mod tests;
