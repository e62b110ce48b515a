//! Times of rows: which day and hour they belong to, when they were written, how long they live.
//!
//! In: Unix milliseconds. Out: parts of keys, write timestamps in microseconds, times to live in seconds.
//! Always: of two tellings on one day the earlier has the greater timestamp, and every timestamp lies before
//! the moment that it stands for, so that a deletion today removes all of it.

use std::time::Duration;

const DAY_MS: i64 = 24 * 3_600_000;
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// The last moment that we can work with, in the year 9999: what lies beyond counts as this.
const END_MS: u64 = 253_402_300_799_999;

/// How much longer a row lives than it is shown. Facts about a notification come within a day of its payload
/// (what takes longer brings the payload again), and of two tellings on one day the earlier one's end counts.
const LONGER: Duration = Duration::from_secs(2 * 24 * 3600);

/// Longest life of a row. Cassandra 5 refuses rows that would live beyond January 2038.
const LONGEST: Duration = Duration::from_secs(5 * 365 * 24 * 3600);

/// Unix milliseconds as columns keep them.
pub(super) fn time(ms: u64) -> i64 {
    ms.min(END_MS).cast_signed()
}

/// Unix milliseconds from a column.
pub(super) fn from_column(ms: i64) -> u64 {
    ms.max(0).cast_unsigned()
}

/// The day of a moment.
pub(super) fn day(ms: u64) -> i32 {
    part(ms, DAY_MS)
}

/// The hour of a moment.
pub(super) fn hour(ms: u64) -> i32 {
    part(ms, HOUR_MS)
}

/// The minute of a moment.
pub(super) fn minute(ms: u64) -> i32 {
    part(ms, MINUTE_MS)
}

/// When an hour begins.
pub(super) fn hour_begins(hour: i32) -> u64 {
    from_column(i64::from(hour) * HOUR_MS)
}

fn part(ms: u64, of: i64) -> i32 {
    i32::try_from(time(ms) / of).unwrap_or(i32::MAX)
}

/// The write timestamp of what is told first: of two on one day, the earlier moment's is greater. `lot`
/// decides between two of one millisecond, so that all columns come from one of them.
pub(super) fn earliest_wins(at_ms: u64, lot: u64) -> i64 {
    let at = time(at_ms);
    let begins = at - at % DAY_MS;
    let mirrored = begins - (at - begins);
    mirrored * 1_000 - 1 - (lot % 999).cast_signed()
}

/// The write timestamp of what may be told again: the last telling's stays, and with it the longest life.
pub(super) fn latest_wins(at_ms: u64) -> i64 {
    time(at_ms) * 1_000
}

/// The write timestamp of a number that rises, in a row of a day: the greater number's is greater, and those of a
/// later day are.
pub(super) fn most_wins(at_ms: u64, number: u32) -> i64 {
    let at = time(at_ms);
    (at - at % DAY_MS - DAY_MS) * 1_000 + i64::from(number)
}

/// The life of a cell that ends before those beside it in its row, and still is shown as long.
pub(super) fn shorter_life(kept: Duration) -> i32 {
    life(kept) - 24 * 3600
}

/// How long a row lives, in seconds, when it is shown for `kept`.
pub(super) fn life(kept: Duration) -> i32 {
    let life = kept.saturating_add(LONGER).min(LONGEST);
    i32::try_from(life.as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A_DAY: u64 = 24 * 3_600_000;

    proptest! {
        #[test]
        fn the_earlier_telling_of_a_day_wins_and_a_later_day_is_later(
            day in 1u64..60_000, a in 0..A_DAY, b in 0..A_DAY, lots: (u64, u64)
        ) {
            let (first, second) = (a.min(b), a.max(b));
            let stamp = |at, lot| earliest_wins(day * A_DAY + at, lot);
            if first < second {
                prop_assert!(stamp(first, lots.0) > stamp(second, lots.1));
            }
            let next = earliest_wins((day + 1) * A_DAY + a, lots.0);
            prop_assert!(next > stamp(b, lots.1));
        }

        #[test]
        fn a_timestamp_lies_before_its_moment_and_within_a_day_of_its_own(at_ms: u64, lot: u64) {
            let stamp = earliest_wins(at_ms, lot);
            prop_assert!(stamp < latest_wins(at_ms));
            let begins = i64::from(day(at_ms)) * DAY_MS * 1_000;
            prop_assert!(stamp < begins && stamp >= begins - (DAY_MS + 1) * 1_000);
        }

        #[test]
        fn the_greater_number_of_a_day_wins_and_a_later_day_is_later(
            day in 1u64..60_000, at in 0..A_DAY, a: u32, b: u32
        ) {
            let (one, two) = (most_wins(day * A_DAY + at, a), most_wins(day * A_DAY, b));
            prop_assert_eq!(one.cmp(&two), a.cmp(&b));
            prop_assert!(most_wins((day + 1) * A_DAY, 0) > one);
            prop_assert!(one < latest_wins(day * A_DAY + at));
        }

        #[test]
        fn a_row_lives_longer_than_it_is_shown(days in 0u64..1_000) {
            let kept = Duration::from_secs(days * 24 * 3600);
            prop_assert!(u64::from(life(kept).unsigned_abs()) > kept.as_secs());
            prop_assert!(u64::from(shorter_life(kept).unsigned_abs()) > kept.as_secs());
        }
    }

    #[test]
    fn no_moment_is_too_late() {
        assert!(life(Duration::MAX) > 0);
        assert!(day(u64::MAX) < i32::MAX && hour(u64::MAX) < i32::MAX);
        assert!(latest_wins(u64::MAX) > earliest_wins(u64::MAX, 0));
        assert_eq!(from_column(-1), 0);
    }
}
