//! Topics: their names and how each is kept.
//!
//! In: a prefix and the deployment's figures. Out: names, and a specification per topic.
//! Always: a topic that a role reads or writes is in [`Topics::all`], so that one command creates them all.

use std::{fmt, str::FromStr, time::Duration};

/// The names of Carillon's topics under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// ingest → router.
    pub notifications: String,
    /// router → router: what a tenant sent beyond its share; its partitions mirror those of notifications.
    pub overflow: String,
    /// router → router: the ladder, shortest delay first.
    pub retry: Vec<RetryTopic>,
    /// router → operators.
    pub dead_letters: String,
    /// router → router: dead letters on their way back in.
    pub redrive: String,
    /// router → fanout; partition = shard.
    pub deliveries: String,
    /// fanout → router: what sockets took and clients acknowledged.
    pub receipts: String,
    /// ingest, fanout → router: what is to be done beside the stream of notifications.
    pub commands: String,
    /// all → router: who was refused what, and who did what.
    pub audit: String,
}

/// One tier of the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryTopic {
    /// Its topic.
    pub name: String,
    /// How long a record waits on it.
    pub delay: Tier,
}

/// The delay of one tier of the ladder, at least a second. Written `5s`, `30s`, `2m`, `10m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier(Duration);

/// The text is no delay of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be written as whole seconds, minutes or hours such as 5s, 2m or 1h")]
pub struct TierError;

impl Tier {
    /// The tiers of a deployment that names none.
    pub const DEFAULT: [Self; 5] = [
        Self(Duration::from_secs(5)),
        Self(Duration::from_secs(30)),
        Self(Duration::from_secs(120)),
        Self(Duration::from_secs(600)),
        Self(Duration::from_secs(3600)),
    ];

    /// How long a record waits.
    pub fn delay(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s if s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

impl FromStr for Tier {
    type Err = TierError;
    fn from_str(text: &str) -> Result<Self, TierError> {
        let unit = match text.as_bytes().last() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            _ => return Err(TierError),
        };
        let count: u32 = text[..text.len() - 1].parse().map_err(|_| TierError)?;
        let seconds = u64::from(count) * unit;
        if seconds == 0 || text.starts_with('+') {
            return Err(TierError);
        }
        Ok(Self(Duration::from_secs(seconds)))
    }
}

/// Who says when a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamps {
    /// Its producer.
    Create,
    /// The broker, so that times rise within a partition.
    LogAppend,
}

impl Timestamps {
    /// Kafka's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CreateTime",
            Self::LogAppend => "LogAppendTime",
        }
    }
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
    /// Who says when a record was written.
    pub timestamps: Timestamps,
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
    /// Partitions of each topic beside the main stream (ladder, redrive, receipts, commands, audit): 6.
    pub beside: u32,
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
        beside: 6,
        replication: 1,
        min_in_sync: 1,
    };
    /// Three brokers or more.
    pub const CLUSTER: Self = Self {
        notifications: 12,
        shards: 256,
        dead_letters: 6,
        beside: 6,
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
    /// The names under a prefix such as `carillon.`, with the default ladder.
    pub fn new(prefix: &str) -> Self {
        Self::with_ladder(prefix, &Tier::DEFAULT)
    }

    /// The names under a prefix, with a ladder of one's own.
    pub fn with_ladder(prefix: &str, tiers: &[Tier]) -> Self {
        let name = |topic: &str| format!("{prefix}{topic}.v1");
        Self {
            notifications: name("notifications"),
            overflow: name("overflow"),
            retry: tiers
                .iter()
                .map(|&delay| RetryTopic {
                    name: name(&format!("retry.{delay}")),
                    delay,
                })
                .collect(),
            dead_letters: name("dead-letters"),
            redrive: name("redrive"),
            deliveries: name("deliveries"),
            receipts: name("receipts"),
            commands: name("commands"),
            audit: name("audit"),
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
            timestamps: Timestamps::Create,
        };
        // A record comes here with all that it ever had, and a reason more.
        let whole = |spec: TopicSpec| TopicSpec {
            max_message_bytes: DEAD_LETTER_BYTES,
            ..spec
        };
        let tier = |tier: &RetryTopic| TopicSpec {
            timestamps: Timestamps::LogAppend,
            ..whole(spec(&tier.name, layout.beside, 7 * DAY))
        };
        let mut all = vec![
            spec(&self.notifications, layout.notifications, 7 * DAY),
            whole(spec(&self.overflow, layout.notifications, 7 * DAY)),
        ];
        all.extend(self.retry.iter().map(tier));
        all.extend([
            whole(spec(&self.dead_letters, layout.dead_letters, 30 * DAY)),
            whole(spec(&self.redrive, layout.beside, 7 * DAY)),
            spec(&self.deliveries, u32::from(layout.shards), DAY),
            spec(&self.receipts, layout.beside, 7 * DAY),
            spec(&self.commands, layout.beside, 7 * DAY),
            spec(&self.audit, layout.beside, 30 * DAY),
        ]);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_reads_back_what_it_writes_and_refuses_what_is_none() {
        for tier in Tier::DEFAULT {
            assert_eq!(tier.to_string().parse(), Ok(tier));
        }
        for bad in ["", "s", "0s", "-1s", "+1s", "1.5s", "5", "5d", "99999999999h"] {
            assert_eq!(bad.parse::<Tier>(), Err(TierError), "{bad}");
        }
    }
}
