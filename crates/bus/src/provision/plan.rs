//! The plan: how topics differ from their specifications.
//!
//! In: a specification and what was found. Out: changes. Always: partitions and replication are never taken
//! away; settings that nobody specified are left alone. Pure.

use std::{collections::HashMap, fmt};

use carillon_schemas::topics::{Timestamps, TopicSpec};

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
    /// It differs in a way that is never repaired: it has more than asked for, or other replication.
    Keep {
        /// The topic.
        topic: String,
        /// What differs, in words.
        what: String,
    },
    /// What is asked for must not or cannot be done. Nothing is applied beside it.
    Refuse {
        /// The topic.
        topic: String,
        /// What is refused and why, in words.
        what: String,
    },
}

impl Change {
    /// Whether something is done for it.
    pub(crate) fn acts(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Grow { .. } | Self::Alter { .. })
    }
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
            Self::Refuse { topic, what } => write!(f, "refuse {topic}: {what}"),
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

/// Who says when a record was written.
const TIMESTAMPS: &str = "message.timestamp.type";

/// The settings that a specification asks for.
pub(crate) fn settings(spec: &TopicSpec) -> [(&'static str, String); 4] {
    [
        ("retention.ms", spec.retention.as_millis().to_string()),
        ("min.insync.replicas", spec.min_in_sync.to_string()),
        ("max.message.bytes", spec.max_message_bytes.to_string()),
        (TIMESTAMPS, spec.timestamps.as_str().to_owned()),
    ]
}

/// What a plan has to know beside the topics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cluster<'a> {
    /// Brokers that are there.
    pub(crate) brokers: usize,
    /// The topic whose partitions are shards.
    pub(crate) shards: &'a str,
}

/// How one topic differs.
pub(crate) fn changes(spec: &TopicSpec, found: Option<&Found>, cluster: Cluster<'_>) -> Vec<Change> {
    let Some(found) = found else {
        return vec![create(spec, cluster)];
    };
    let mut changes = Vec::new();
    changes.extend(partitions(spec, found, cluster));
    if found.replication != spec.replication {
        changes.push(keep(
            spec,
            format!("{} copies, {} specified", found.replication, spec.replication),
        ));
    }
    for (setting, to) in settings(spec) {
        let from = found.settings.get(setting).map_or("unset", String::as_str);
        if from != to {
            changes.push(alter(spec, setting, from, to));
        }
    }
    changes
}

fn keep(spec: &TopicSpec, what: String) -> Change {
    Change::Keep {
        topic: spec.name.clone(),
        what,
    }
}

fn create(spec: &TopicSpec, cluster: Cluster<'_>) -> Change {
    if usize::from(spec.replication) <= cluster.brokers {
        return Change::Create { spec: spec.clone() };
    }
    Change::Refuse {
        topic: spec.name.clone(),
        what: format!(
            "{} copies are specified, each needs a broker of its own, brokers: {}",
            spec.replication, cluster.brokers
        ),
    }
}

fn partitions(spec: &TopicSpec, found: &Found, cluster: Cluster<'_>) -> Option<Change> {
    let (from, to) = (found.partitions, spec.partitions);
    if from > to {
        return Some(keep(spec, format!("{from} partitions, {to} specified")));
    }
    if from == to {
        return None;
    }
    if spec.name != cluster.shards {
        let topic = spec.name.clone();
        return Some(Change::Grow { topic, from, to });
    }
    Some(Change::Refuse {
        topic: spec.name.clone(),
        what: format!(
            "{from} partitions, {to} specified: its partitions are the shards that cursors name, so more of \
             them need a new generation of the topic"
        ),
    })
}

/// A larger value is set. A smaller one would take something away (records, copies that acknowledge, room
/// for records, times that rise), so it is only said.
fn alter(spec: &TopicSpec, setting: &str, from: &str, to: String) -> Change {
    if setting == TIMESTAMPS && from == Timestamps::LogAppend.as_str() {
        let what = format!("{setting} is {from}, {to} specified, under which times may fall");
        return keep(spec, what);
    }
    let number = |text: &str| match text.parse::<i64>() {
        // Kafka's word for "without end".
        Ok(-1) => i64::MAX,
        Ok(number) => number,
        Err(_) => i64::MIN,
    };
    if number(&to) < number(from) {
        return keep(
            spec,
            format!("{setting} is {from}, {to} specified, which is less"),
        );
    }
    Change::Alter {
        topic: spec.name.clone(),
        setting: setting.to_owned(),
        from: from.to_owned(),
        to,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn spec(partitions: u32) -> TopicSpec {
        TopicSpec {
            timestamps: Timestamps::Create,
            name: "t".to_owned(),
            partitions,
            replication: 1,
            min_in_sync: 1,
            retention: Duration::from_secs(60),
            max_message_bytes: 1000,
        }
    }

    const CLUSTER: Cluster<'_> = Cluster {
        brokers: 3,
        shards: "shards",
    };

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
        assert_eq!(
            changes(&spec, None, CLUSTER),
            [Change::Create { spec: spec.clone() }]
        );
        assert_eq!(changes(&spec, Some(&as_specified(&spec)), CLUSTER), []);
    }

    #[test]
    fn what_differs_is_said_in_words() {
        let mut found = as_specified(&spec(3));
        found.settings.insert("retention.ms".to_owned(), "5".to_owned());
        found.replication = 3;
        let words: Vec<_> = changes(&spec(4), Some(&found), CLUSTER)
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

    #[test]
    fn what_would_take_something_away_is_said_and_not_done() {
        let mut found = as_specified(&spec(3));
        for (setting, value) in [("retention.ms", "-1"), ("min.insync.replicas", "2")] {
            found.settings.insert(setting.to_owned(), value.to_owned());
        }
        let all = changes(&spec(3), Some(&found), CLUSTER);
        assert!(
            all.len() == 2 && all.iter().all(|c| matches!(c, Change::Keep { .. })),
            "{all:?}"
        );
    }

    #[test]
    fn the_brokers_time_is_set_where_it_is_asked_for_and_never_taken_back() {
        let stamped = TopicSpec {
            timestamps: Timestamps::LogAppend,
            ..spec(1)
        };
        let words = |spec: &TopicSpec, found: &TopicSpec| {
            let all = changes(spec, Some(&as_specified(found)), CLUSTER);
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            words(&stamped, &spec(1)),
            ["set message.timestamp.type of t from CreateTime to LogAppendTime"]
        );
        let kept = words(&spec(1), &stamped);
        assert!(
            kept.len() == 1 && kept[0].starts_with("leave t as it is"),
            "{kept:?}"
        );
    }

    #[test]
    fn shards_are_not_added_and_copies_need_brokers() {
        let shards = |partitions| TopicSpec {
            name: "shards".to_owned(),
            ..spec(partitions)
        };
        let grown = &changes(&shards(4), Some(&as_specified(&shards(2))), CLUSTER)[0];
        assert!(grown.to_string().contains("new generation"), "{grown}");
        let wide = TopicSpec {
            replication: 4,
            ..spec(1)
        };
        let refused = changes(&wide, None, CLUSTER)[0].to_string();
        assert!(
            refused.contains("4 copies") && refused.contains("brokers: 3"),
            "{refused}"
        );
    }

    proptest! {
        #[test]
        fn partitions_are_never_taken_away(have in 1u32..100, want in 1u32..100) {
            let found = as_specified(&spec(have));
            for change in changes(&spec(want), Some(&found), CLUSTER) {
                match change {
                    Change::Grow { from, to, .. } => prop_assert!(from == have && to == want && to > from),
                    Change::Keep { .. } => prop_assert!(have > want),
                    other => prop_assert!(false, "{other}"),
                }
            }
        }
    }
}
