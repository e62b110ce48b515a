//! Status: what became of a notification, and which of two facts about it wins.
//!
//! In: facts in whatever order they arrive. Out: a total order on them.
//! Always: the packed stamp of a later fact is greater, so that stores keep the right one without reading.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of a notification. The discriminant is its rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Status {
    /// Kafka has it on all in-sync replicas.
    Accepted = 1,
    /// The store has it.
    Stored = 2,
    /// It waits for its `deliver_at`.
    Scheduled = 3,
    /// Kafka has its delivery: a client that resumes will get it.
    Dispatched = 4,
    /// An attempt failed; it waits on the ladder.
    Retrying = 5,
    /// Its time to live ended before it was delivered.
    Expired = 6,
    /// A socket took its bytes.
    Delivered = 7,
    /// A client acknowledged it.
    Acknowledged = 8,
    /// It was cancelled before it was due.
    Cancelled = 9,
    /// It is a dead letter.
    Dead = 10,
    /// A newer one with its collapse key took its place before it was delivered.
    Collapsed = 11,
}

impl Status {
    /// Every status, by rank.
    pub const ALL: [Self; 11] = [
        Self::Accepted,
        Self::Stored,
        Self::Scheduled,
        Self::Dispatched,
        Self::Retrying,
        Self::Expired,
        Self::Delivered,
        Self::Acknowledged,
        Self::Cancelled,
        Self::Dead,
        Self::Collapsed,
    ];

    /// 1…11: among facts of one attempt the higher rank wins.
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// Whether nothing of later attempts takes its place, only a redrive: what an attempt began before it was
    /// acknowledged may still be told afterwards.
    pub fn is_final(self) -> bool {
        self >= Self::Acknowledged
    }

    /// Whether sockets and clients tell it, and no router.
    pub fn is_receipt(self) -> bool {
        matches!(self, Self::Delivered | Self::Acknowledged)
    }

    /// The status of a rank.
    pub fn from_rank(rank: u8) -> Option<Self> {
        Self::ALL.get(usize::from(rank).checked_sub(1)?).copied()
    }

    /// The name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Stored => "stored",
            Self::Scheduled => "scheduled",
            Self::Dispatched => "dispatched",
            Self::Retrying => "retrying",
            Self::Expired => "expired",
            Self::Delivered => "delivered",
            Self::Acknowledged => "acknowledged",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
            Self::Collapsed => "collapsed",
        }
    }

    /// The status of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }
}

/// Set in a packed stamp whose status is final.
const FINAL: i64 = 1 << 15;
/// What of a packed stamp is the attempt.
const ATTEMPT: i64 = 0x7f << 8;

/// When in a notification's life a fact stands: redrive, then whether it ends that redrive, then attempt, then rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// How often it was redriven from the dead letters.
    pub redrive: u8,
    /// Which attempt, 1…127.
    pub attempt: u8,
    /// What happened.
    pub status: Status,
}

impl Stamp {
    /// `redrive << 16 | final << 15 | attempt << 8 | rank`: the write timestamp of the fact. A greater attempt than
    /// 127 counts as 127.
    pub fn packed(self) -> i64 {
        let ends = if self.status.is_final() { FINAL } else { 0 };
        let attempt = i64::from(self.attempt) << 8;
        i64::from(self.redrive) << 16 | ends | attempt.min(ATTEMPT) | i64::from(self.status.rank())
    }

    /// Back from the packed form.
    pub fn unpack(packed: i64) -> Option<Self> {
        let redrive = u8::try_from(packed >> 16).ok()?;
        let status = Status::from_rank((packed & 0xff) as u8)?;
        Some(Self {
            redrive,
            attempt: ((packed & ATTEMPT) >> 8) as u8,
            status,
        })
    }
}

impl Ord for Stamp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.packed().cmp(&other.packed())
    }
}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_stamps_sort_like_the_facts() {
        let stamp = |redrive, attempt, status| Stamp {
            redrive,
            attempt,
            status,
        };
        let ordered = [
            stamp(0, 1, Status::Stored),
            stamp(0, 1, Status::Dispatched),
            stamp(0, 1, Status::Retrying),
            stamp(0, 2, Status::Stored),
            stamp(0, 2, Status::Delivered),
            stamp(0, 1, Status::Acknowledged),
            stamp(0, 2, Status::Acknowledged),
            stamp(0, 2, Status::Dead),
            stamp(1, 1, Status::Accepted),
        ];
        for pair in ordered.windows(2) {
            assert!(pair[0].packed() < pair[1].packed() && pair[0] < pair[1]);
            assert_eq!(Stamp::unpack(pair[0].packed()), Some(pair[0]));
        }
        assert_eq!(stamp(1, 3, Status::Retrying).packed(), 66_309);
    }
}
