//! The plan: how topics differ from their specifications.
//!
//! In: a specification and what was found. Out: changes. Always: partitions and replication are never taken
//! away; settings that nobody specified are left alone. Pure.

use std::{collections::HashMap, fmt};

use carillon_schemas::topics::TopicSpec;

/// One difference between a topic and its specification. Its `Display` says in words what will be done.
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
            Self::Create { spec } => write!(
                f,
                "create {} with {} partitions, {} copies",
                spec.name, spec.partitions, spec.replication
            ),
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

/// A topic as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) partitions: u32,
    pub(crate) replication: u16,
    /// Every setting by name, defaults included.
    pub(crate) settings: HashMap<String, String>,
}

/// The settings that a specification asks for.
pub(crate) fn settings(spec: &TopicSpec) -> [(&'static str, String); 3] {
    [
        ("retention.ms", spec.retention.as_millis().to_string()),
        ("min.insync.replicas", spec.min_in_sync.to_string()),
        ("max.message.bytes", spec.max_message_bytes.to_string()),
    ]
}

/// How one topic differs.
pub(crate) fn changes(spec: &TopicSpec, found: Option<&Found>) -> Vec<Change> {
    let Some(found) = found else {
        return vec![Change::Create { spec: spec.clone() }];
    };
    let topic = || spec.name.clone();
    let mut changes = Vec::new();
    if found.partitions < spec.partitions {
        changes.push(Change::Grow {
            topic: topic(),
            from: found.partitions,
            to: spec.partitions,
        });
    }
    if found.partitions > spec.partitions {
        changes.push(Change::Keep {
            topic: topic(),
            what: format!("{} partitions, {} specified", found.partitions, spec.partitions),
        });
    }
    if found.replication != spec.replication {
        changes.push(Change::Keep {
            topic: topic(),
            what: format!("{} copies, {} specified", found.replication, spec.replication),
        });
    }
    for (setting, to) in settings(spec) {
        let from = found.settings.get(setting).map_or("unset", String::as_str);
        if from != to {
            changes.push(Change::Alter {
                topic: topic(),
                setting: setting.to_owned(),
                from: from.to_owned(),
                to,
            });
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn spec(partitions: u32) -> TopicSpec {
        TopicSpec {
            name: "t".to_owned(),
            partitions,
            replication: 1,
            min_in_sync: 1,
            retention: Duration::from_secs(60),
            max_message_bytes: 1000,
        }
    }

    fn as_specified(spec: &TopicSpec) -> Found {
        Found {
            partitions: spec.partitions,
            replication: spec.replication,
            settings: settings(spec)
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
        }
    }

    #[test]
    fn a_missing_topic_is_created_and_one_as_specified_is_left() {
        let spec = spec(3);
        assert_eq!(changes(&spec, None), [Change::Create { spec: spec.clone() }]);
        assert_eq!(changes(&spec, Some(&as_specified(&spec))), []);
    }

    #[test]
    fn what_differs_is_said_in_words() {
        let mut found = as_specified(&spec(3));
        found.settings.insert("retention.ms".to_owned(), "5".to_owned());
        found.replication = 3;
        let words: Vec<_> = changes(&spec(4), Some(&found))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            words,
            [
                "grow t from 3 to 4 partitions",
                "leave t as it is: 3 copies, 1 specified",
                "set retention.ms of t from 5 to 60000",
            ]
        );
    }

    proptest! {
        #[test]
        fn partitions_are_never_taken_away(have in 1u32..100, want in 1u32..100) {
            let found = as_specified(&spec(have));
            for change in changes(&spec(want), Some(&found)) {
                match change {
                    Change::Grow { from, to, .. } => prop_assert!(from == have && to == want && to > from),
                    Change::Keep { .. } => prop_assert!(have > want),
                    other => prop_assert!(false, "{other}"),
                }
            }
        }
    }
}
