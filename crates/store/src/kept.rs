//! How long things are kept, and which of two tellings stays, whatever holds the rows.
//!
//! In: what was told. Out: times and orders. Always: the same for every store, so that one that is moved from one
//! to the other answers alike.

use std::time::Duration;

use carillon_schemas::{
    NotificationId,
    dead_letter::{DeadLetterId, Job, JobState},
};

use crate::{DeadLetterMark, NewNotification};

/// How long a dead letter stands in the index, at least: as long as its topic keeps the record.
pub(crate) const DEAD_LETTERS: Duration = Duration::from_secs(30 * 24 * 3600);

/// How far an `accepted_at` may lie after the moment of reading: clocks differ. A notification from further
/// in the future stands in the deliveries at the moment it was read, so that it is removed one day.
pub(crate) const CLOCK_SKEW_MS: u64 = 3_600_000;

/// Most bytes of payload in one page of stored notifications, about.
pub(crate) const PAGE_BYTES: usize = 4 << 20;

/// When a notification counts as accepted.
pub(crate) fn accepted_at(new: &NewNotification) -> u64 {
    let at = new.envelope.accepted_at;
    if at > new.at_ms.saturating_add(CLOCK_SKEW_MS) {
        return new.at_ms;
    }
    at
}

/// The moment from which on a payload's retention counts: one that waits for its `deliver_at` is kept until then.
pub(crate) fn counts_from(new: &NewNotification) -> u64 {
    let furthest = new
        .at_ms
        .saturating_add(carillon_schemas::limits::SCHEDULE_AHEAD_MS);
    new.envelope.deliver_at.unwrap_or(0).min(furthest).max(new.at_ms)
}

/// How long the rows about dead letters are kept.
pub(crate) fn dead_letters(retention: Duration) -> Duration {
    retention.max(DEAD_LETTERS)
}

/// Orders marks of a dead letter in microseconds: by their moment, and two of one moment always alike.
pub(crate) fn mark_version(mark: &DeadLetterMark) -> i64 {
    let lot = mark.job.as_u128() % 249;
    let slot = mark.state as u64 * 249 + lot as u64;
    version(mark.marked_at_ms, slot)
}

/// Orders what is saved of a job in microseconds: by `updated_at`; at one moment an ended one is the later.
pub(crate) fn job_version(job: &Job) -> i64 {
    let moved = job.matched.saturating_add(job.moved).min(499);
    let ended = u64::from(job.state != JobState::Running);
    version(job.updated_at, ended * 500 + moved.min(498))
}

/// Before its moment, and after every earlier millisecond.
fn version(at_ms: u64, slot: u64) -> i64 {
    /// The last moment that we can work with, in the year 9999.
    const END_MS: u64 = 253_402_300_799_999;
    at_ms.min(END_MS).cast_signed() * 1_000 - 1_000 + slot.min(999).cast_signed()
}

/// A dead letter's name where the id of a notification stands in a page's cursor: in the order of names.
pub(crate) fn letter_id(id: DeadLetterId) -> NotificationId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&id.partition.to_be_bytes());
    bytes[4..12].copy_from_slice(&id.offset.to_be_bytes());
    NotificationId::from_bytes(bytes)
}

/// Back from there: the partition and the offset.
pub(crate) fn letter_place(id: NotificationId) -> (i32, i64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *id.as_bytes();
    (
        i32::from_be_bytes([a, b, c, d]),
        i64::from_be_bytes([e, f, g, h, i, j, k, l]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use carillon_schemas::dead_letter::DeadLetterState;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_dead_letters_name_goes_through_a_cursor_in_its_order(
            a in (0i32.., 0i64..), b in (0i32.., 0i64..)
        ) {
            let id = |(partition, offset)| letter_id(DeadLetterId { partition, offset });
            prop_assert_eq!(letter_place(id(a)), a);
            prop_assert_eq!(id(a).as_bytes().cmp(id(b).as_bytes()), a.cmp(&b));
        }

        #[test]
        fn a_later_mark_has_the_greater_version(a in 1u64..1 << 44, b in 1u64..1 << 44, jobs: (u128, u128)) {
            let mark = |marked_at_ms, job, state| mark_version(&DeadLetterMark {
                id: DeadLetterId { partition: 0, offset: 0 },
                at_ms: 0,
                state,
                job: uuid::Uuid::from_u128(job),
                marked_at_ms,
            });
            let (one, two) = (
                mark(a, jobs.0, DeadLetterState::Discarded),
                mark(b, jobs.1, DeadLetterState::Redriven),
            );
            if a != b {
                prop_assert_eq!(one.cmp(&two), a.cmp(&b));
            }
            prop_assert!(one < (a * 1_000).cast_signed());
        }
    }
}
