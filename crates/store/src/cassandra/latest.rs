//! The latest notification of a collapse key, as a cell.
//!
//! In: a notification with a collapse key. Out: the cell, its lane and its write timestamp. Always: the timestamp
//! rises with (`accepted_at`, id) as far as microseconds reach; what they cannot tell apart is in lanes.

use carillon_schemas::NotificationId;

use super::{failure::corrupt, times::time};
use crate::{NewNotification, StoreError, kept};

/// Lanes of a key: two notifications that share a moment and the beginning of their random part share a lane
/// once in so many times.
const LANES: u8 = 8;

/// Which is the latest of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Latest {
    pub(super) accepted_at: u64,
    pub(super) id: NotificationId,
    /// The moment from which on its time counts.
    pub(super) counts_from: u64,
}

impl Latest {
    pub(super) fn of(new: &NewNotification) -> Self {
        Self {
            accepted_at: kept::accepted_at(new),
            id: new.envelope.notification_id,
            counts_from: kept::counts_from(new),
        }
    }

    pub(super) fn lane(&self) -> i8 {
        (self.id.as_bytes()[15] % LANES).cast_signed()
    }

    /// Before its moment, and after every earlier millisecond.
    pub(super) fn version(&self) -> i64 {
        // The ten bits behind the version and its first two, which are random in ids of version 7.
        let bytes = self.id.as_bytes();
        let random = u16::from_be_bytes([bytes[6], bytes[7]]) & 0x0fff;
        time(self.accepted_at) * 1_000 - 1_000 + i64::from(random) * 999 / 0x0fff
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend(self.accepted_at.to_be_bytes());
        bytes.extend(self.id.as_bytes());
        bytes.extend(self.counts_from.to_be_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let foreign = || {
            corrupt(
                "collapse_latest",
                &format_args!("a cell of {} bytes", bytes.len()),
            )
        };
        let (accepted_at, rest) = bytes.split_first_chunk::<8>().ok_or_else(foreign)?;
        let (id, rest) = rest.split_first_chunk::<16>().ok_or_else(foreign)?;
        let counts_from = rest.first_chunk::<8>().ok_or_else(foreign)?;
        Ok(Self {
            accepted_at: u64::from_be_bytes(*accepted_at),
            id: NotificationId::from_bytes(*id),
            counts_from: u64::from_be_bytes(*counts_from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn latest(accepted_at: u64, random: [u8; 10]) -> Latest {
        Latest {
            accepted_at,
            id: NotificationId::at(accepted_at, &random),
            counts_from: accepted_at + 1,
        }
    }

    proptest! {
        #[test]
        fn the_newer_never_has_the_smaller_timestamp(
            a in 0u64..1 << 44, b in 0u64..1 << 44, same: bool, random: [[u8; 10]; 2]
        ) {
            let b = if same { a } else { b };
            let (one, two) = (latest(a, random[0]), latest(b, random[1]));
            prop_assert!(one > two || one.version() <= two.version());
            prop_assert!(one < two || one.version() >= two.version());
            prop_assert!(a == b || one.version() != two.version());
            prop_assert!(one.version() < time(a) * 1_000);
        }

        #[test]
        fn a_cell_comes_back(at in 0u64..1 << 44, random: [u8; 10]) {
            let one = latest(at, random);
            prop_assert_eq!(Latest::from_bytes(&one.to_bytes()), Ok(one));
            prop_assert!(Latest::from_bytes(&one.to_bytes()[..31]).is_err());
        }
    }
}
