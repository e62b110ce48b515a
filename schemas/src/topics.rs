//! Topics: their names and how each is kept.
//!
//! In: a prefix and the deployment's figures. Out: names, and a specification per topic.
//! Always: a topic that a role reads or writes is in [`Topics::all`], so that one command creates them all.

use std::time::Duration;

/// The names of Carillon's topics under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// ingest → router.
    pub notifications: String,
    /// router → fanout; partition = shard.
    pub deliveries: String,
    /// router → operators.
    pub dead_letters: String,
}

/// How a topic is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Copies of each partition.
    pub replication: u16,
    /// Copies that must have a record before it is acknowledged.
    pub min_in_sync: u16,
    /// How long records are kept.
    pub retention: Duration,
    /// Largest record batch in bytes.
    pub max_message_bytes: u32,
}

/// The figures of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Partitions of the notifications topic: 12.
    pub notifications: u32,
    /// Partitions of the deliveries topic, the number of shards: 64 on one machine.
    pub shards: u16,
    /// Partitions of the dead-letter topic: 6.
    pub dead_letters: u32,
    /// Copies of each partition: 3 in a cluster, 1 on the embedded broker.
    pub replication: u16,
    /// Copies that acknowledge: 2 in a cluster, 1 on the embedded broker.
    pub min_in_sync: u16,
}

impl Layout {
    /// One machine, one copy.
    pub const SINGLE: Self = Self {
        notifications: 12,
        shards: 64,
        dead_letters: 6,
        replication: 1,
        min_in_sync: 1,
    };
    /// Three brokers or more.
    pub const CLUSTER: Self = Self {
        notifications: 12,
        shards: 256,
        dead_letters: 6,
        replication: 3,
        min_in_sync: 2,
    };
}

const DAY: Duration = Duration::from_secs(86_400);
/// A notification is at most 64 KiB; its envelope adds ids and escapes, and a batch its framing.
pub const MESSAGE_BYTES: u32 = 1024 * 1024;
/// A dead letter is a whole record of another topic with its reason in headers: it must fit whatever it is.
/// No producer of ours may be bounded below this.
pub const DEAD_LETTER_BYTES: u32 = MESSAGE_BYTES + 64 * 1024;

impl Topics {
    /// The names under a prefix such as `carillon.`.
    pub fn new(prefix: &str) -> Self {
        Self {
            notifications: format!("{prefix}notifications.v1"),
            deliveries: format!("{prefix}deliveries.v1"),
            dead_letters: format!("{prefix}dead-letters.v1"),
        }
    }

    /// Every topic with the way it is kept.
    pub fn all(&self, layout: &Layout) -> Vec<TopicSpec> {
        let spec = |name: &String, partitions: u32, retention: Duration| TopicSpec {
            name: name.clone(),
            partitions,
            replication: layout.replication,
            min_in_sync: layout.min_in_sync,
            retention,
            max_message_bytes: MESSAGE_BYTES,
        };
        vec![
            spec(&self.notifications, layout.notifications, 7 * DAY),
            spec(&self.deliveries, u32::from(layout.shards), DAY),
            TopicSpec {
                max_message_bytes: DEAD_LETTER_BYTES,
                ..spec(&self.dead_letters, layout.dead_letters, 30 * DAY)
            },
        ]
    }
}
