//! The headers of a dead letter that goes back in.
//!
//! In: a dead letter. Out: its headers on the redrive topic. Always: pure; a counter that cannot be believed is
//! no zero: such a letter does not go back in.

use bytes::Bytes;
use carillon_bus::Record;
use carillon_schemas::headers::{self, Headers};
use uuid::Uuid;

/// Greatest value of a counter that is believed.
const COUNTER_MOST: u64 = 64;

/// What a dead letter leaves behind.
const LEFT_BEHIND: [&str; 8] = [
    headers::CHECK,
    headers::NOT_BEFORE,
    headers::ERROR_CLASS,
    headers::ERROR_CODE,
    headers::ERROR_MESSAGE,
    headers::DLT_TOPIC,
    headers::DLT_PARTITION,
    headers::DLT_OFFSET,
];

/// Its first attempt again, one hop and one redrive more.
pub(super) fn redriven(letter: &Record, job: Uuid, now_ms: u64) -> Result<Headers, String> {
    let counter = |name| counter(&letter.headers, name);
    let hops = counter(headers::HOPS)?.saturating_add(1);
    let redrives = counter(headers::REDRIVE_COUNT)?.saturating_add(1);
    let delivery = delivery(&letter.headers)?;
    let mut kept = Headers::with_capacity(letter.headers.len() + 6);
    for (name, value) in letter
        .headers
        .iter()
        .filter(|(name, _)| !LEFT_BEHIND.contains(name))
    {
        kept.push_raw(name.to_owned(), value.clone());
    }
    kept.set(headers::ATTEMPT, "1");
    kept.set(headers::HOPS, hops.to_string());
    kept.set(headers::REDRIVE_COUNT, redrives.to_string());
    kept.set(headers::REDRIVE_ID, job.to_string());
    kept.set(headers::DELIVERY, delivery.to_string());
    kept.set(headers::FIRST_SEEN, now_ms.to_string());
    Ok(kept)
}

/// A counter; what is absent never counted.
fn counter(headers: &Headers, name: &str) -> Result<u64, String> {
    number(headers, name)?
        .map_or(Some(0), |n| (n <= COUNTER_MOST).then_some(n))
        .ok_or_else(|| format!("{name} is above {COUNTER_MOST}"))
}

fn delivery(headers: &Headers) -> Result<u32, String> {
    let number = number(headers, headers::DELIVERY)?.unwrap_or(0);
    u32::try_from(number).map_err(|_| "carillon-delivery is no delivery count".to_owned())
}

fn number(headers: &Headers, name: &str) -> Result<Option<u64>, String> {
    let mut named = headers.iter().filter(|(n, _)| *n == name);
    let Some((_, value)) = named.next() else {
        return Ok(None);
    };
    let digits = |value: &Bytes| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = Some(value).filter(|value| named.next().is_none() && digits(value));
    let text = text.and_then(|value| std::str::from_utf8(value).ok());
    text.and_then(|text| text.parse().ok())
        .map(Some)
        .ok_or_else(|| format!("{name} is doubled or no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::sample;
    use proptest::prelude::*;

    const JOB: Uuid = Uuid::from_u128(7);

    fn letter() -> Record {
        let mut letter = sample::record("acme", 1);
        for (name, value) in [
            (headers::ORIGIN, "first/0/1"),
            (headers::ATTEMPT, "6"),
            (headers::HOPS, "9"),
            (headers::REDRIVE_COUNT, "1"),
            (headers::DELIVERY, "4"),
            (headers::FIRST_SEEN, "5"),
            (headers::CHECK, "1"),
            (headers::ERROR_CODE, "not_acknowledged"),
            (headers::DLT_TOPIC, "t"),
            ("x-theirs", "kept"),
        ] {
            letter.headers.push_raw(name, value);
        }
        letter
    }

    #[test]
    fn a_letter_goes_back_in_as_a_first_attempt_with_one_redrive_more() {
        let headers = redriven(&letter(), JOB, 1_760_000_000_000).unwrap();
        for (name, value) in [
            (headers::TENANT, "acme"),
            (headers::ORIGIN, "first/0/1"),
            (headers::ATTEMPT, "1"),
            (headers::HOPS, "10"),
            (headers::REDRIVE_COUNT, "2"),
            (headers::DELIVERY, "4"),
            (headers::FIRST_SEEN, "1760000000000"),
            (headers::REDRIVE_ID, "00000000-0000-0000-0000-000000000007"),
            ("x-theirs", "kept"),
        ] {
            assert_eq!(headers.text(name), Some(value), "{name}");
        }
        let left = |name: &&str| headers.iter().any(|(n, _)| n == *name);
        assert_eq!(LEFT_BEHIND.iter().find(|name| left(name)), None);
    }

    #[test]
    fn a_counter_that_cannot_be_believed_keeps_a_letter_out() {
        for (name, value) in [
            (headers::HOPS, "-1"),
            (headers::HOPS, "65"),
            (headers::REDRIVE_COUNT, ""),
            (headers::DELIVERY, "99999999999"),
        ] {
            let mut letter = letter();
            letter.headers.set(name, value);
            assert!(redriven(&letter, JOB, 0).is_err(), "{name} {value}");
        }
        let mut doubled = letter();
        doubled.headers.push_raw(headers::HOPS, "9");
        assert!(redriven(&doubled, JOB, 0).is_err());
    }

    proptest! {
        #[test]
        fn hops_and_redrives_only_ever_grow(name in 0usize..3, value: Vec<u8>) {
            let mut letter = letter();
            letter.headers.set([headers::HOPS, headers::REDRIVE_COUNT, headers::DELIVERY][name], value);
            if let Ok(headers) = redriven(&letter, JOB, 0) {
                for name in [headers::HOPS, headers::REDRIVE_COUNT] {
                    let number = |headers: &Headers| headers.text(name).unwrap().parse::<u64>().unwrap();
                    prop_assert_eq!(number(&headers), number(&letter.headers) + 1);
                }
            }
        }
    }
}
