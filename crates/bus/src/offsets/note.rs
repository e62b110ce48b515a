//! Notes: the finished offsets above a committed one, as text that travels in the commit's metadata.
//!
//! In: a committed offset and the runs of finished offsets above it. Out: a short text, and what it says.
//! Always: a text that somebody else wrote, that is damaged, or that belongs to another partition or another
//! committed offset says nothing; what does not fit is left out from the far end. Pure.

use std::collections::VecDeque;

use crate::TopicPartition;

/// Most bytes of a note. Kafka's default for `offset.metadata.max.bytes` is 4,096; 2,000 records in flight
/// of which every other one is finished, the worst case of the default bound, take 2,030.
pub const NOTE_BYTES: usize = 3072;

const BEGINNING: &str = "carillon1.";
/// RFC 4648's URL-safe alphabet. A character holds five bits and whether the number goes on.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const GOES_ON: u64 = 32;
/// Characters of the checksum.
const SUM: usize = 6;

/// Finished offsets that were not read yet here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ahead {
    /// The committed offset that they stand above.
    pub mark: i64,
    /// Nothing up to the end of the last run was written later, Unix milliseconds.
    pub newest_ms: i64,
    /// From, and the end that is not included; ascending, apart, at or above the mark.
    pub runs: VecDeque<(i64, i64)>,
}

impl Ahead {
    /// Whether a record is finished. Records are asked for in ascending order.
    ///
    /// Who wrote the note had read everything up to its last run. So a record in that span that was written
    /// later stands in a log that was cut since, of which the note knows nothing.
    pub(super) fn takes(&mut self, offset: i64, timestamp_ms: Option<i64>) -> bool {
        let known = self.runs.back().is_some_and(|&(_, end)| offset < end);
        if known && timestamp_ms.is_none_or(|at| at > self.newest_ms) {
            self.runs.clear();
        }
        while self.runs.front().is_some_and(|&(_, end)| end <= offset) {
            self.runs.pop_front();
        }
        self.runs.front().is_some_and(|&(from, _)| from <= offset)
    }
}

/// The note of a commit; empty when there is nothing to say.
pub fn encode(partition: &TopicPartition, ahead: &Ahead) -> String {
    let mut text = BEGINNING.to_owned();
    put(&mut text, ahead.mark);
    put(&mut text, ahead.newest_ms);
    let (mut end, begun) = (ahead.mark, text.len());
    for &(from, to) in &ahead.runs {
        let fits = text.len();
        put(&mut text, from - end);
        put(&mut text, to - from);
        if text.len() + SUM > NOTE_BYTES {
            text.truncate(fits);
            break;
        }
        end = to;
    }
    if text.len() == begun {
        return String::new();
    }
    let sum = checksum(partition, &text);
    text.extend((0..SUM).map(|n| digit((sum >> (6 * n)) & 63)));
    text
}

/// What the note of a commit at `offset` says, if it is one.
pub fn decode(partition: &TopicPartition, offset: i64, text: &str) -> Option<Ahead> {
    if !text.starts_with(BEGINNING) || !text.is_ascii() || text.len() > NOTE_BYTES {
        return None;
    }
    let (body, sum) = text.split_at_checked(text.len() - SUM)?;
    let expected = checksum(partition, body);
    let same = |(n, c): (usize, char)| digit((expected >> (6 * n)) & 63) == c;
    if !sum.chars().enumerate().all(same) {
        return None;
    }
    let mut digits = body.get(BEGINNING.len()..)?.bytes();
    let mark = take(&mut digits)?;
    let newest_ms = take(&mut digits)?;
    let mut runs = VecDeque::new();
    let mut end = mark;
    while digits.len() > 0 {
        let (gap, length) = (take(&mut digits)?, take(&mut digits)?);
        let from = end.checked_add(gap)?;
        end = from.checked_add(length)?;
        if length == 0 {
            return None;
        }
        runs.push_back((from, end));
    }
    (mark == offset).then_some(Ahead {
        mark,
        newest_ms,
        runs,
    })
}

fn digit(bits: u64) -> char {
    char::from(DIGITS[(bits & 63) as usize])
}

/// A number that is not negative; others, which there are none of, become 0.
fn put(text: &mut String, number: i64) {
    let mut left = u64::try_from(number).unwrap_or(0);
    while left >= GOES_ON {
        text.push(digit(GOES_ON | (left & (GOES_ON - 1))));
        left >>= 5;
    }
    text.push(digit(left));
}

fn take(digits: &mut impl Iterator<Item = u8>) -> Option<i64> {
    let mut number = 0u64;
    for shift in (0..60).step_by(5) {
        let digit = digits.next()?;
        let bits = DIGITS.iter().position(|d| *d == digit)? as u64;
        number |= (bits & (GOES_ON - 1)) << shift;
        if bits < GOES_ON {
            return i64::try_from(number).ok();
        }
    }
    None
}

/// FNV-1a (32 bits), over the partition's name too: it finds every single change of a character.
fn checksum(partition: &TopicPartition, text: &str) -> u64 {
    let name = partition.to_string();
    let bytes = name.bytes().chain([0]).chain(text.bytes());
    u64::from(bytes.fold(0x811c_9dc5_u32, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partition(partition: i32) -> TopicPartition {
        TopicPartition {
            topic: "carillon.notifications.v1".into(),
            partition,
        }
    }

    fn ahead(mark: i64, newest_ms: i64, gaps: &[(i64, i64)]) -> Ahead {
        let mut end = mark;
        let run = |&(gap, length): &(i64, i64)| {
            let from = end + gap;
            end = from + length;
            (from, end)
        };
        let runs = gaps.iter().map(run).collect();
        Ahead {
            mark,
            newest_ms,
            runs,
        }
    }

    #[test]
    fn the_worst_case_of_the_default_bound_fits_whole() {
        let every_other = ahead(1 << 40, 1 << 41, &[(1, 1); 1000]);
        let text = encode(&partition(0), &every_other);
        assert!(text.len() <= 2_040, "{}", text.len());
        assert_eq!(decode(&partition(0), 1 << 40, &text), Some(every_other));
    }

    #[test]
    fn nothing_to_say_is_an_empty_note_and_an_empty_note_says_nothing() {
        assert_eq!(encode(&partition(0), &ahead(5, 9, &[])), "");
        assert_eq!(decode(&partition(0), 5, ""), None);
    }

    fn gaps(most: usize) -> impl Strategy<Value = Vec<(i64, i64)>> {
        prop::collection::vec((1..5000i64, 1..5000i64), 1..most)
    }

    proptest! {
        #[test]
        fn a_note_says_what_was_put_in_as_far_as_it_fits(mark in 0..i64::MAX / 16, newest in 0..1i64 << 50, gaps in gaps(900)) {
            let all = ahead(mark, newest, &gaps);
            let text = encode(&partition(3), &all);
            prop_assert!(text.len() <= NOTE_BYTES);
            let read = decode(&partition(3), mark, &text).unwrap();
            prop_assert_eq!((read.mark, read.newest_ms), (mark, newest));
            let near: VecDeque<_> = all.runs.iter().take(read.runs.len()).copied().collect();
            prop_assert_eq!(&read.runs, &near);
            prop_assert!(read.runs.len() == all.runs.len() || text.len() > NOTE_BYTES - 16);
        }

        #[test]
        fn another_partition_or_another_offset_reads_nothing(mark in 0..1i64 << 50, gaps in gaps(40)) {
            let text = encode(&partition(3), &ahead(mark, 1, &gaps));
            prop_assert_eq!(decode(&partition(4), mark, &text), None);
            prop_assert_eq!(decode(&partition(3), mark + 1, &text), None);
        }

        #[test]
        fn a_changed_or_cut_note_says_nothing(gaps in gaps(40), at in any::<prop::sample::Index>(), by in 1..64u8) {
            let text = encode(&partition(0), &ahead(77, 5, &gaps));
            let mut changed = text.clone().into_bytes();
            let at = at.index(changed.len());
            let digit = DIGITS.iter().position(|d| *d == changed[at]).unwrap_or(0);
            changed[at] = DIGITS[(digit + usize::from(by)) % 64];
            let changed = String::from_utf8(changed).unwrap();
            if changed != text {
                prop_assert_eq!(decode(&partition(0), 77, &changed), None);
            }
            prop_assert_eq!(decode(&partition(0), 77, &text[..at]), None);
        }

        #[test]
        fn foreign_text_says_nothing_and_never_panics(text in ".{0,200}", offset in any::<i64>()) {
            prop_assert_eq!(decode(&partition(0), offset, &text), None);
            prop_assert_eq!(decode(&partition(0), offset, &format!("{BEGINNING}{text}")), None);
        }
    }
}
