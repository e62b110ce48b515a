//! Settings: what can be set on a topic, and what that means here.
//!
//! In: names and values as Kafka has them. Out: the few that the broker acts on, ready to use. Always: an
//! unknown name or a bad value is refused; what is accepted is kept and told back, acted on or not.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use parking_lot::Mutex;

/// All names with Kafka's defaults. Retention and compaction are kept for the day the broker does them.
const KNOWN: [(&str, &str, Kind); 18] = [
    ("cleanup.policy", "delete", Kind::Policy),
    (
        "compression.type",
        "producer",
        Kind::Word(&[
            "producer",
            "uncompressed",
            "none",
            "gzip",
            "snappy",
            "lz4",
            "zstd",
        ]),
    ),
    ("delete.retention.ms", "86400000", Kind::Number),
    ("file.delete.delay.ms", "60000", Kind::Number),
    ("flush.messages", "9223372036854775807", Kind::Number),
    ("flush.ms", "9223372036854775807", Kind::Number),
    ("index.interval.bytes", "4096", Kind::Number),
    ("max.compaction.lag.ms", "9223372036854775807", Kind::Number),
    ("max.message.bytes", "1048588", Kind::Number),
    (
        "message.timestamp.type",
        "CreateTime",
        Kind::Word(&["CreateTime", "LogAppendTime"]),
    ),
    ("min.cleanable.dirty.ratio", "0.5", Kind::Ratio),
    ("min.compaction.lag.ms", "0", Kind::Number),
    ("min.insync.replicas", "1", Kind::Number),
    ("retention.bytes", "-1", Kind::Number),
    ("retention.ms", "604800000", Kind::Number),
    ("segment.bytes", "", Kind::Number),
    ("segment.ms", "604800000", Kind::Number),
    (
        "unclean.leader.election.enable",
        "false",
        Kind::Word(&["true", "false"]),
    ),
];

enum Kind {
    Number,
    Ratio,
    Word(&'static [&'static str]),
    Policy,
}

/// A topic's settings, readable without a lock where it matters.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Only what was set; everything else has its default.
    set: Mutex<BTreeMap<String, String>>,
    log_append_time: AtomicBool,
    max_message_bytes: AtomicU64,
    segment_bytes: AtomicU64,
}

/// Why a setting was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no topic setting {0}")]
    Unknown(String),
    #[error("{name} cannot be {value}")]
    Value { name: String, value: String },
    #[error("this operation is not supported on {0}")]
    Operation(String),
}

/// Names and defaults of all settings; `segment.bytes` defaults to the broker's option.
pub(crate) fn defaults() -> impl Iterator<Item = (&'static str, &'static str)> {
    KNOWN.iter().map(|(name, default, _)| (*name, *default))
}

impl Settings {
    /// Judges settings.
    pub(crate) fn new(set: BTreeMap<String, String>, segment_bytes: u64) -> Result<Self, Refusal> {
        for (name, value) in &set {
            check(name, value)?;
        }
        let number = |name: &str, default: u64| set.get(name).and_then(|v| v.parse().ok()).unwrap_or(default);
        Ok(Self {
            log_append_time: AtomicBool::new(
                set.get("message.timestamp.type")
                    .is_some_and(|v| v == "LogAppendTime"),
            ),
            max_message_bytes: AtomicU64::new(number("max.message.bytes", 1_048_588)),
            segment_bytes: AtomicU64::new(number("segment.bytes", segment_bytes).max(1)),
            set: Mutex::new(set),
        })
    }

    /// What was set.
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        self.set.lock().clone()
    }

    /// Takes over another's values.
    pub(crate) fn become_like(&self, other: &Self) {
        *self.set.lock() = other.values();
        self.log_append_time
            .store(other.log_append_time(), Ordering::Relaxed);
        self.max_message_bytes
            .store(other.max_message_bytes(), Ordering::Relaxed);
        self.segment_bytes.store(other.segment_bytes(), Ordering::Relaxed);
    }

    pub(crate) fn log_append_time(&self) -> bool {
        self.log_append_time.load(Ordering::Relaxed)
    }

    pub(crate) fn max_message_bytes(&self) -> u64 {
        self.max_message_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes.load(Ordering::Relaxed)
    }
}

fn check(name: &str, value: &str) -> Result<(), Refusal> {
    let known = KNOWN.iter().find(|(known, ..)| *known == name);
    let Some((_, _, kind)) = known else {
        return Err(Refusal::Unknown(name.to_owned()));
    };
    let good = match kind {
        Kind::Number => value.parse::<i64>().is_ok_and(|n| n >= -1),
        Kind::Ratio => value.parse::<f64>().is_ok_and(|r| (0.0..=1.0).contains(&r)),
        Kind::Word(words) => words.contains(&value),
        Kind::Policy => value.split(',').all(|p| matches!(p, "delete" | "compact")),
    };
    match good {
        true => Ok(()),
        false => Err(Refusal::Value {
            name: name.to_owned(),
            value: value.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &str, value: &str) -> Result<Settings, Refusal> {
        Settings::new(BTreeMap::from([(name.to_owned(), value.to_owned())]), 1024)
    }

    #[test]
    fn every_default_is_a_legal_value() {
        for (name, default) in defaults().filter(|(name, _)| *name != "segment.bytes") {
            settings(name, default).unwrap();
        }
    }

    #[test]
    fn unknown_names_and_bad_values_are_refused() {
        assert!(settings("retention.hours", "1").is_err());
        assert!(settings("retention.ms", "soon").is_err());
        assert!(settings("message.timestamp.type", "logappendtime").is_err());
        assert!(settings("cleanup.policy", "compact,delete").is_ok());
        assert!(
            settings("message.timestamp.type", "LogAppendTime")
                .unwrap()
                .log_append_time()
        );
    }
}
