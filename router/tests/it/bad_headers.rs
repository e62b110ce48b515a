//! Headers that cannot be believed: a dead letter, wherever the record stands.

use carillon_bus::Outgoing;
use carillon_schemas::headers;

use crate::{
    records::{id, record},
    stack::{Stack, counts},
};

const GOOD: [(&str, &str); 6] = [
    (headers::ATTEMPT, "1"),
    (headers::HOPS, "1"),
    (headers::REDRIVE_COUNT, "0"),
    (headers::DELIVERY, "0"),
    (headers::FIRST_SEEN, "1760000000000"),
    (headers::NOT_BEFORE, "1760000005000"),
];

fn on(topic: &str, n: u64, change: impl Fn(&mut Outgoing)) -> Outgoing {
    let mut record = record("acme", n);
    record.topic = topic.into();
    for (name, value) in GOOD {
        record.headers.push_raw(name, value);
    }
    change(&mut record);
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_cannot_be_believed_make_a_dead_letter_and_no_second_hop() {
    let stack = Stack::with_tiers(&["1s"]).await;
    let ladder = stack.bus.topics.retry[0].name.clone();
    let redrive = stack.bus.topics.redrive.clone();
    let set = |name: &'static str, value: &'static str| {
        move |record: &mut Outgoing| record.headers.set(name, value)
    };
    let mut bad = vec![
        on(&ladder, 1, set(headers::ATTEMPT, "-1")),
        on(&ladder, 2, set(headers::ATTEMPT, "1000000000")),
        on(&ladder, 3, set(headers::NOT_BEFORE, "253370764800000")),
        on(&ladder, 4, |r| r.headers.remove(headers::HOPS)),
        on(&ladder, 5, |r| r.headers.push_raw(headers::HOPS, "1")),
        on(&ladder, 6, set(headers::ATTEMPT, "3")),
        on(&ladder, 7, set(headers::CHECK, "1")),
        on(&redrive, 8, |_| {}),
        on(&redrive, 9, |r| r.headers.remove(headers::REDRIVE_COUNT)),
    ];
    let mut plain = record("acme", 10);
    plain.headers.set(headers::ATTEMPT, "0");
    bad.push(plain);
    let router = stack.router();
    stack.publish(bad.iter().cloned()).await;
    stack.publish([record("acme", 20), on(&ladder, 21, |_| {})]).await;
    let letters = stack.dead_letters(bad.len()).await;
    for record in &bad {
        let letter = letters
            .iter()
            .find(|l| l.value.as_ref() == Some(&record.value))
            .unwrap();
        assert_eq!(letter.headers.text(headers::ERROR_CODE), Some("bad_headers"));
        let theirs: Vec<_> = letter.headers.iter().take(record.headers.len()).collect();
        assert_eq!(theirs, record.headers.iter().collect::<Vec<_>>());
    }
    let delivered = counts(&stack.deliveries(2).await);
    assert!(delivered.contains_key(&id(20)) && delivered.contains_key(&id(21)));
    router.stop().await;
    assert_eq!(
        stack.count(&stack.bus.topics.dead_letters).await,
        bad.len() as i64
    );
    stack.stop().await;
}
