//! Dead letters as operators see them, and what they ask for: redrive, discard, replay.
//!
//! In: a request's body, an index row, a job. Out: compact JSON. Always: a dead letter is named by its place on
//! the dead-letter topic, because a record that could not be read has no other name.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{ChannelName, NotificationId, TenantId};

mod request;

/// The name of a dead letter: its partition and offset on the dead-letter topic, written `3-1042`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub struct DeadLetterId {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// The text names no dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be written partition-offset, such as 3-1042")]
pub struct DeadLetterIdError;

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

impl FromStr for DeadLetterId {
    type Err = DeadLetterIdError;
    fn from_str(text: &str) -> Result<Self, DeadLetterIdError> {
        let (partition, offset) = text.split_once('-').ok_or(DeadLetterIdError)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(partition) || !digits(offset) {
            return Err(DeadLetterIdError);
        }
        Ok(Self {
            partition: partition.parse().map_err(|_| DeadLetterIdError)?,
            offset: offset.parse().map_err(|_| DeadLetterIdError)?,
        })
    }
}

impl Serialize for DeadLetterId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeadLetterId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What was done with a dead letter.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterState {
    /// Nothing yet.
    #[default]
    Waiting,
    /// It was put back in.
    Redriven,
    /// It was put back in as often as allowed and came back: an operator must look at it.
    Parked,
    /// It was thrown away.
    Discarded,
}

impl DeadLetterState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Redriven, Self::Parked, Self::Discarded];

    /// The name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Redriven => "redriven",
            Self::Parked => "parked",
            Self::Discarded => "discarded",
        }
    }

    /// The state of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// One dead letter in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterRow {
    /// Its name.
    pub id: DeadLetterId,
    /// When it became one, Unix milliseconds.
    pub at: u64,
    /// The notification, where the record could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_id: Option<NotificationId>,
    /// Its channel, where the record could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelName>,
    /// The class of its failure.
    pub error_class: String,
    /// The code of its failure.
    pub error_code: String,
    /// Its failure in words.
    pub error_message: String,
    /// `topic/partition/offset` where the record first stood.
    pub origin: String,
    /// In which attempt it failed, from 1.
    pub attempt: u8,
    /// How often it was put back in before.
    pub redrive_count: u8,
    /// How many bytes its value has.
    pub bytes: u64,
    /// What was done with it.
    pub state: DeadLetterState,
    /// The job that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<Uuid>,
}

/// A page of a tenant's dead letters, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLettersPage {
    /// The rows. An empty page may still have a cursor: the scan is bounded.
    pub dead_letters: Vec<DeadLetterRow>,
    /// For the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// One dead letter with its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterView {
    /// What the index knows.
    #[serde(flatten)]
    pub row: DeadLetterRow,
    /// The record's headers, as text where they are text.
    pub headers: BTreeMap<String, String>,
    /// The record's value as text, with a replacement character for what is none; absent when the topic keeps it no
    /// longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Which dead letters. What is absent restricts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterFilter {
    /// Those with this class (`permanent`, `transient`) or this code (`store_refused`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_class: Option<String>,
    /// Those that became dead letters at or after this moment, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Those that did so before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Those with these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<DeadLetterId>,
}

/// The body of a redrive, and of a discard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedriveRequest {
    /// The job's id, so that a repeated request has no second effect; made up without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redrive_id: Option<Uuid>,
    /// Which.
    #[serde(default)]
    pub filter: DeadLetterFilter,
    /// At most so many; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// At most so many a second, 1 to 10,000; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
    /// Only counts.
    #[serde(default)]
    pub dry_run: bool,
}

/// The body of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// The job's id, so that a repeated request has no second effect; made up without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_id: Option<Uuid>,
    /// Notifications accepted at or after this moment, Unix milliseconds.
    pub since: u64,
    /// Notifications accepted before this moment.
    pub until: u64,
    /// Only those of this channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelName>,
    /// At most so many a second, 1 to 10,000; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
}

/// How many a second a job moves that does not say.
pub const JOB_RATE_DEFAULT: u32 = 100;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Dead letters back in.
    Redrive,
    /// Dead letters away.
    Discard,
    /// Stored notifications again.
    Replay,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// A router has it; it goes on after a crash.
    Running,
    /// It is through.
    Done,
    /// It was not begun, or given up; `detail` says why.
    Refused,
}

/// A job, as it is kept and as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its id.
    pub id: Uuid,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// What it does.
    pub kind: JobKind,
    /// How it stands.
    pub state: JobState,
    /// Whether it only counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// When it was asked for, Unix milliseconds.
    pub created_at: u64,
    /// When it was looked at last.
    pub updated_at: u64,
    /// How many fitted the filter.
    pub matched: u64,
    /// How many were put back in, thrown away, or dispatched again.
    pub moved: u64,
    /// How many were parked.
    pub parked: u64,
    /// How many were left out: done before, or no longer on the topic.
    pub skipped: u64,
    /// How many of each code fitted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_code: BTreeMap<String, u64>,
    /// How far it has come; opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// Why it was refused or waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_named_by_its_place_and_by_nothing_else() {
        let id: DeadLetterId = "3-1042".parse().unwrap();
        assert_eq!(
            (id.partition, id.offset, id.to_string().as_str()),
            (3, 1042, "3-1042")
        );
        for bad in [
            "",
            "3",
            "-1-2",
            "3--1",
            "a-1",
            "3-",
            "3-1-1",
            "99999999999-1",
            "+3-1",
        ] {
            assert_eq!(bad.parse::<DeadLetterId>(), Err(DeadLetterIdError), "{bad}");
        }
    }
}
