//! Provisioning: topics as they should be.
//!
//! In: specifications. Out: what differs, in words, and its repair. Always: nothing shrinks, nothing is
//! deleted, and applying twice changes nothing the second time.

use std::fmt;

use carillon_chassis::metrics::Metrics;
use carillon_schemas::topics::TopicSpec;

use crate::{BusConfig, BusError};

/// One difference between a topic and its specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The topic is missing.
    Create {
        /// How it should be.
        spec: TopicSpec,
    },
    /// It has too few partitions.
    Grow {
        /// The topic.
        topic: String,
        /// How many it has.
        from: u32,
        /// How many it should have.
        to: u32,
    },
    /// A setting differs.
    Alter {
        /// The topic.
        topic: String,
        /// The setting's Kafka name.
        setting: String,
        /// Its value.
        from: String,
        /// What it should be.
        to: String,
    },
    /// It differs in a way that is never repaired: more partitions than asked for, other replication.
    Keep {
        /// The topic.
        topic: String,
        /// What differs, in words.
        what: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { spec } => {
                write!(f, "create {} with {} partitions", spec.name, spec.partitions)
            }
            Self::Grow { topic, from, to } => write!(f, "grow {topic} from {from} to {to} partitions"),
            Self::Alter {
                topic,
                setting,
                from,
                to,
            } => write!(f, "set {setting} of {topic} from {from} to {to}"),
            Self::Keep { topic, what } => write!(f, "leave {topic} as it is: {what}"),
        }
    }
}

/// Looks at topics and changes them.
#[derive(Debug)]
pub struct Admin {}

impl Admin {
    /// Starts an administrator. Kafka need not be there yet.
    pub fn new(_config: &BusConfig, _metrics: &Metrics) -> Result<Self, BusError> {
        unimplemented!()
    }

    /// What [`Admin::apply`] would do.
    pub async fn plan(&self, _specs: &[TopicSpec]) -> Result<Vec<Change>, BusError> {
        unimplemented!()
    }

    /// Creates missing topics, grows partitions, alters settings; says what it did.
    pub async fn apply(&self, _specs: &[TopicSpec]) -> Result<Vec<Change>, BusError> {
        unimplemented!()
    }

    /// Every partition of a topic: (partition, oldest offset, offset of the next record).
    pub async fn ends(&self, _topic: &str) -> Result<Vec<(i32, i64, i64)>, BusError> {
        unimplemented!()
    }

    /// Whether a broker answers.
    pub async fn ping(&self) -> Result<(), BusError> {
        unimplemented!()
    }
}
