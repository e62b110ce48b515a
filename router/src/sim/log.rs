//! Kafka in memory: partitions, the time of each record, and what groups committed.
//!
//! In: records. Out: the same at their offsets. Always: times are the broker's and rise strictly, so that no two
//! records of a schedule are due at the same moment.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use carillon_bus::{Record, TopicPartition};
use carillon_schemas::{
    headers::Headers,
    topics::{Tier, Topics},
};

/// Partitions of notifications, of the overflow and of each tier.
pub(super) const PARTITIONS: i32 = 2;
/// Shards of deliveries.
pub(super) const SHARDS: u16 = 2;

/// A group of consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Group {
    /// Notifications and redrive.
    Main,
    /// The tiers of the ladder.
    Ladder,
    /// The overflow: assigned by hand, so that nobody's commit is refused.
    Overflow,
}

/// The brokers.
pub(super) struct Log {
    pub(super) names: Topics,
    topics: BTreeMap<Arc<str>, Vec<Vec<Record>>>,
    committed: BTreeMap<(Group, TopicPartition), (i64, String)>,
}

impl Log {
    pub(super) fn new() -> Self {
        let names = Topics::with_ladder("c.", &Tier::DEFAULT);
        let mut topics = BTreeMap::new();
        let mut create = |name: &str, partitions: i32| {
            topics.insert(name.into(), vec![Vec::new(); partitions as usize]);
        };
        create(&names.notifications, PARTITIONS);
        create(&names.overflow, PARTITIONS);
        names.retry.iter().for_each(|tier| create(&tier.name, PARTITIONS));
        create(&names.redrive, 1);
        create(&names.dead_letters, 1);
        create(&names.deliveries, i32::from(SHARDS));
        Self {
            names,
            topics,
            committed: BTreeMap::new(),
        }
    }

    /// Whose group reads it. `None`: no router does.
    pub(super) fn group_of(&self, topic: &str) -> Option<Group> {
        if topic == self.names.notifications || topic == self.names.redrive {
            Some(Group::Main)
        } else if topic == self.names.overflow {
            Some(Group::Overflow)
        } else {
            let tier = self.names.retry.iter().any(|tier| tier.name == topic);
            tier.then_some(Group::Ladder)
        }
    }

    /// The partitions that are assigned by the group.
    pub(super) fn partitions_of(&self, group: Group) -> Vec<TopicPartition> {
        let mine = |topic: &&Arc<str>| self.group_of(topic) == Some(group);
        let topics = self.topics.keys().filter(mine);
        let partitions = topics.flat_map(|topic| {
            (0..self.topics[topic].len() as i32).map(move |partition| TopicPartition {
                topic: Arc::clone(topic),
                partition,
            })
        });
        partitions.collect()
    }

    pub(super) fn partition_of(&self, topic: &str, key: &[u8]) -> i32 {
        let sum: usize = key.iter().map(|b| usize::from(*b)).sum();
        (sum % self.topics[topic].len()) as i32
    }

    pub(super) fn append(
        &mut self,
        topic: &str,
        partition: i32,
        (key, value): (Option<Bytes>, Option<Bytes>),
        headers: Headers,
        now_ms: u64,
    ) -> Record {
        let (topic, partitions) = self.topics.get_key_value(topic).expect("the topic exists");
        let record = Record {
            topic: Arc::clone(topic),
            partition,
            offset: partitions[partition as usize].len() as i64,
            timestamp_ms: Some(now_ms as i64),
            key,
            value,
            headers,
        };
        let topic = Arc::clone(topic);
        self.partition_mut(&topic, partition).push(record.clone());
        record
    }

    pub(super) fn partition(&self, topic: &str, partition: i32) -> &[Record] {
        &self.topics[topic][partition as usize]
    }

    /// What stands there, to be damaged.
    pub(super) fn partition_mut(&mut self, topic: &str, partition: i32) -> &mut Vec<Record> {
        let partitions = self.topics.get_mut(topic).expect("the topic exists");
        &mut partitions[partition as usize]
    }

    pub(super) fn read(&self, at: &TopicPartition, offset: i64) -> Option<&Record> {
        self.partition(&at.topic, at.partition).get(offset as usize)
    }

    pub(super) fn end(&self, at: &TopicPartition) -> i64 {
        self.partition(&at.topic, at.partition).len() as i64
    }

    /// Every record of a topic.
    pub(super) fn all(&self, topic: &str) -> impl Iterator<Item = &Record> {
        self.topics[topic].iter().flatten()
    }

    pub(super) fn committed(&self, group: Group, at: &TopicPartition) -> Option<&(i64, String)> {
        self.committed.get(&(group, at.clone()))
    }

    pub(super) fn commit(&mut self, group: Group, at: &TopicPartition, offset: i64, note: String) {
        self.committed.insert((group, at.clone()), (offset, note));
    }
}
