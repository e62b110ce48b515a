//! Travel under any headers: bounds, replacement, and that no corruption makes a record hop for ever.

use carillon_bus::Record;
use proptest::prelude::*;

use super::*;
use crate::{
    poison::Class,
    verdict::{HOPS_MOST, Outcome, Verdict, verdict},
    work::sample,
};

const NOW: u64 = 1_760_000_000_000;

const COUNTERS: [&str; 7] = [
    headers::ATTEMPT,
    headers::HOPS,
    headers::REDRIVE_COUNT,
    headers::DELIVERY,
    headers::FIRST_SEEN,
    headers::NOT_BEFORE,
    headers::CHECK,
];

fn reason() -> Reason {
    Reason {
        class: Class::Transient,
        code: Code::StoreTimeout,
        text: "slow".to_owned(),
    }
}

fn with(pairs: &[(&'static str, &'static str)]) -> Headers {
    let mut headers = sample::record("acme", 0).headers;
    for (name, value) in pairs {
        headers.push_raw(*name, *value);
    }
    headers
}

/// What a router writes to the ladder.
const LADDER: [(&str, &str); 6] = [
    (headers::ATTEMPT, "1"),
    (headers::HOPS, "1"),
    (headers::REDRIVE_COUNT, "0"),
    (headers::DELIVERY, "0"),
    (headers::FIRST_SEEN, "1760000000000"),
    (headers::NOT_BEFORE, "1760000005000"),
];

fn changed(name: &'static str, value: Option<&'static str>) -> Headers {
    let mut headers = with(&LADDER);
    headers.remove(name);
    if let Some(value) = value {
        headers.set(name, value);
    }
    headers
}

#[test]
fn a_record_without_headers_begins_on_notifications_and_is_poison_elsewhere() {
    let plain = sample::record("acme", 0).headers;
    assert_eq!(
        Travel::read(&plain, On::Notifications, NOW),
        Ok(Travel::begins(NOW))
    );
    for on in [On::Overflow, On::Ladder, On::Redrive] {
        assert_eq!(
            Travel::read(&plain, on, NOW).unwrap_err().code,
            Code::BadHeaders,
            "{on:?}"
        );
    }
}

#[test]
fn a_retry_that_is_taken_back_is_in_its_next_attempt_and_a_check_is_not() {
    let retry = Travel::read(&with(&LADDER), On::Ladder, NOW).unwrap();
    assert_eq!((retry.attempt, retry.hops, retry.check), (2, 1, false));
    assert_eq!(retry.not_before_ms, Some(NOW + 5_000));
    let mut check = changed(headers::DELIVERY, Some("1"));
    check.set(headers::CHECK, "1");
    let check = Travel::read(&check, On::Ladder, NOW).unwrap();
    assert_eq!((check.attempt, check.delivery, check.check), (1, 1, true));
}

#[test]
fn what_is_missing_doubled_garbled_absurd_or_contradictory_is_poison() {
    let doubled = |name| {
        let mut headers = with(&LADDER);
        headers.push_raw(name, "1");
        headers
    };
    let mut cases: Vec<_> = LADDER.iter().map(|(name, _)| doubled(*name)).collect();
    cases.extend(LADDER.iter().map(|(name, _)| changed(name, None)));
    for garbled in [
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "01",
        "1e3",
        "x",
        "99999999999999999999",
    ] {
        cases.extend(LADDER.iter().map(|(name, _)| changed(name, Some(garbled))));
    }
    for (name, absurd) in [
        (headers::ATTEMPT, "0"),
        (headers::ATTEMPT, "65"),
        (headers::ATTEMPT, "1000000000"),
        (headers::HOPS, "65"),
        (headers::HOPS, "0"),
        (headers::REDRIVE_COUNT, "65"),
        (headers::DELIVERY, "4294967295"),
        // The year 9999.
        (headers::NOT_BEFORE, "253370764800000"),
        (headers::FIRST_SEEN, "253370764800000"),
        // More attempts, or redrives, than hops.
        (headers::ATTEMPT, "3"),
        (headers::REDRIVE_COUNT, "1"),
        // A check of something that never was dispatched.
        (headers::CHECK, "1"),
        (headers::CHECK, "yes"),
    ] {
        cases.push(changed(name, Some(absurd)));
    }
    for headers in cases {
        let read = Travel::read(&headers, On::Ladder, NOW);
        assert_eq!(read.map_err(|p| p.code), Err(Code::BadHeaders), "{headers:?}");
    }
    let check = with(&[(headers::CHECK, "1"), (headers::DELIVERY, "1")]);
    assert!(Travel::read(&check, On::Notifications, NOW).is_err());
}

#[test]
fn a_moved_record_has_each_header_once_and_its_origin_for_ever() {
    let mut record = sample::record("acme", 7);
    record.headers.push_raw("x-theirs", "1");
    let first = Travel::begins(NOW).to_retry(&record, NOW + 5_000, &reason());
    assert_eq!(first.text(headers::ORIGIN), Some("carillon.notifications.v1/0/7"));
    let moved = Record {
        topic: "carillon.retry.5s.v1".into(),
        headers: first,
        ..record.clone()
    };
    let travel = Travel::read(&moved.headers, On::Ladder, NOW).unwrap();
    let second = travel.to_retry(&moved, NOW + 40_000, &reason());
    for (name, value) in [
        (headers::ORIGIN, "carillon.notifications.v1/0/7"),
        (headers::ATTEMPT, "2"),
        (headers::HOPS, "2"),
        (headers::DELIVERY, "0"),
        (headers::NOT_BEFORE, "1760000040000"),
        (headers::FIRST_SEEN, "1760000000000"),
        (headers::ERROR_CODE, "store_timeout"),
        (headers::ERROR_CLASS, "transient"),
        (headers::TENANT, "acme"),
        ("x-theirs", "1"),
    ] {
        assert_eq!(second.text(name), Some(value), "{name}");
    }
}

#[test]
fn a_redriven_letter_begins_again_and_remembers_how_often() {
    let record = sample::record("acme", 7);
    let mut letter = Record {
        headers: Travel {
            attempt: 6,
            hops: 5,
            delivery: 2,
            ..Travel::begins(NOW)
        }
        .to_check(&record, NOW),
        ..record
    };
    letter.headers.set(headers::ERROR_CODE, "not_acknowledged");
    let later = NOW + 86_400_000;
    let headers = redriven(&letter, Uuid::nil(), later).unwrap();
    let travel = Travel::read(&headers, On::Redrive, later).unwrap();
    assert_eq!((travel.attempt, travel.redrive, travel.hops), (1, 1, 7));
    assert_eq!(
        (travel.delivery, travel.first_seen_ms, travel.check),
        (2, later, false)
    );
    assert_eq!(headers.get(headers::ERROR_CODE), None);
    letter.headers.set(headers::HOPS, "many");
    assert_eq!(
        redriven(&letter, Uuid::nil(), later).unwrap_err().code,
        Code::BadHeaders
    );
}

/// One thing that a router, or whoever may write to a topic, does with the headers.
#[derive(Debug, Clone)]
enum Harm {
    None,
    Set(usize, Vec<u8>),
    Count(usize, u8),
    Remove(usize),
    Double(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = 0..COUNTERS.len();
    prop_oneof![
        Just(Harm::None),
        (at.clone(), prop::collection::vec(any::<u8>(), 0..12)).prop_map(|(n, v)| Harm::Set(n, v)),
        (at.clone(), any::<u8>()).prop_map(|(n, v)| Harm::Count(n, v)),
        at.clone().prop_map(Harm::Remove),
        at.prop_map(Harm::Double),
    ]
}

fn inflict(harm: &Harm, headers: &mut Headers) {
    match harm {
        Harm::None => {}
        Harm::Set(n, value) => headers.set(COUNTERS[*n], value.clone()),
        Harm::Count(n, value) => headers.set(COUNTERS[*n], value.to_string()),
        Harm::Remove(n) => headers.remove(COUNTERS[*n]),
        Harm::Double(n) => headers.push_raw(COUNTERS[*n], "1"),
    }
}

/// What becomes of a record that stands there: its headers on its next topic, or none when it ended.
fn handle(record: &Record, on: On, redrive: bool) -> Option<(Headers, On)> {
    let ended = |record: &Record| {
        let headers = redrive.then(|| redriven(record, Uuid::nil(), NOW).ok())??;
        let count: u8 = headers.text(headers::REDRIVE_COUNT)?.parse().ok()?;
        (count <= 3).then_some((headers, On::Redrive))
    };
    let Ok(travel) = Travel::read(&record.headers, on, NOW) else {
        return ended(record);
    };
    match verdict(Outcome::Alone("slow".to_owned()), &travel, NOW) {
        Verdict::Retry(reason) => Some((travel.to_retry(record, NOW, &reason), On::Ladder)),
        _ => ended(record),
    }
}

proptest! {
    #[test]
    fn hops_are_bounded_under_any_corruption_and_any_redrives(
        harms in prop::collection::vec(harm(), 0..4),
        every in 1usize..20,
        redrives: bool,
    ) {
        let mut record = sample::record("acme", 0);
        let (mut on, mut moves, mut left) = (On::Notifications, 0usize, harms.iter());
        while let Some((headers, next)) = handle(&record, on, redrives) {
            let hops: u8 = headers.text(headers::HOPS).unwrap().parse().unwrap();
            prop_assert!(hops <= HOPS_MOST, "{hops}");
            moves += 1;
            (record.headers, on) = (headers, next);
            if moves.is_multiple_of(every) && let Some(harm) = left.next() {
                inflict(harm, &mut record.headers);
            }
            // Each corruption can at most let it begin anew.
            prop_assert!(moves <= (harms.len() + 1) * usize::from(HOPS_MOST), "{moves}");
        }
    }

    #[test]
    fn no_headers_make_reading_panic_and_what_is_read_is_within_bounds(
        pairs in prop::collection::vec((0..COUNTERS.len(), prop_oneof![".{0,6}", "[0-9]{1,14}"]), 0..12),
    ) {
        let mut headers = Headers::default();
        for (at, value) in pairs {
            headers.push_raw(COUNTERS[at], value);
        }
        for on in [On::Notifications, On::Overflow, On::Ladder, On::Redrive] {
            if let Ok(travel) = Travel::read(&headers, on, NOW) {
                prop_assert!((1..=65).contains(&travel.attempt) && travel.hops <= 64 && travel.redrive <= 64);
                prop_assert!(travel.not_before_ms.is_none_or(|at| at <= NOW + NOT_BEFORE_AHEAD_MS));
            }
        }
    }

    #[test]
    fn what_a_router_writes_it_reads_back(attempt in 1u8..7, more in 0u8..10, redrive in 0u8..4, delivery in 1u32..9) {
        let travel = Travel { attempt, redrive, delivery, hops: attempt - 1 + redrive + more, ..Travel::begins(NOW) };
        let record = sample::record("acme", 0);
        let after = |headers: Headers, on| Travel::read(&headers, on, NOW + 1).unwrap();
        let hopped = Travel { hops: travel.hops + 1, ..travel };
        prop_assert_eq!(after(travel.to_overflow(&record), On::Overflow), hopped);
        let due = Some(NOW + 9);
        prop_assert_eq!(
            after(travel.to_retry(&record, NOW + 9, &reason()), On::Ladder),
            Travel { attempt: attempt + 1, not_before_ms: due, ..hopped }
        );
        prop_assert_eq!(
            after(travel.to_check(&record, NOW + 9), On::Ladder),
            Travel { check: true, not_before_ms: due, ..hopped }
        );
    }
}
