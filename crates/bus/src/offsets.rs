//! Offsets: how far a partition is finished.
//!
//! In: records handed out and records finished, in any order. Out: the offset to commit, and a note of what
//! is finished above it. Always: what is to be committed is at or below the lowest unfinished record;
//! finishing what was not handed out, or what is no longer held, has no effect. Pure: no clock, no I/O.

use std::{collections::HashMap, sync::Arc};

pub use mark::LowWaterMark;

use crate::TopicPartition;

mod mark;
pub mod note;

/// What a commit says of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The partition.
    pub partition: TopicPartition,
    /// The lowest unfinished offset.
    pub offset: i64,
    /// What is finished above it; empty when nothing is.
    pub note: String,
    /// How much was finished when it was made.
    version: u64,
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
            .insert(partition.partition, LowWaterMark::assigned());
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

    /// What a commit should say now: partitions of which more is finished than the last acknowledged commit
    /// says.
    pub fn due(&self) -> Vec<Commit> {
        self.iter()
            .filter_map(|(partition, mark)| mark.due(&partition))
            .collect()
    }

    /// A commit was acknowledged. Of partitions that are gone meanwhile nothing is kept.
    pub fn committed(&mut self, commits: &[Commit]) {
        for commit in commits {
            if let Some(mark) = self.get_mut(&commit.partition.topic, commit.partition.partition) {
                mark.committed(commit);
            }
        }
    }
}

#[cfg(test)]
#[path = "offsets/tests.rs"]
mod tests;
