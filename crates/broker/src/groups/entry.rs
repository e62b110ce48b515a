//! Entries of the offsets' journal: what was committed, and what was forgotten.
//!
//! In: entries or bytes. Out: bytes or entries. Always: each entry carries its length and a checksum of its own.

use serde::{Deserialize, Serialize};

const HEAD_BYTES: usize = 8;

/// One position of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) epoch: i32,
    pub(crate) metadata: String,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Entry {
    Commit {
        group: String,
        topic: String,
        partition: i32,
        committed: Committed,
    },
    ForgetGroup {
        group: String,
    },
    ForgetTopic {
        topic: String,
    },
}

impl Entry {
    /// Appends length, checksum and JSON.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Ok(body) = serde_json::to_vec(self) else {
            return;
        };
        let Ok(length) = u32::try_from(body.len()) else {
            return;
        };
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        out.extend_from_slice(&body);
    }

    /// The entry at the front and how many bytes it takes; `None` when there is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length))
            .ok()
            .filter(|length| *length > 0)?;
        let body = rest.get(..length)?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) {
            return None;
        }
        Some((serde_json::from_slice(body).ok()?, HEAD_BYTES + length))
    }
}
