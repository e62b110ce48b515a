//! Poison: what cannot be handled is kept whole, with its reason, and harms nobody.

use bytes::Bytes;
use carillon_bus::{Outgoing, Record};
use carillon_schemas::{
    NotificationId,
    headers::{self, Headers},
};

use crate::{
    records::{NOTIFICATIONS, id, record},
    stack::{Stack, counts},
};

/// Every kind of poison with the code that it must get.
fn poison() -> Vec<(Outgoing, &'static str)> {
    let with = |n: u64, change: &dyn Fn(&mut Outgoing)| {
        let mut record = record("acme", n);
        record.headers.push_raw("x-trace", format!("t{n}"));
        change(&mut record);
        record
    };
    let user_audience = |record: &mut Outgoing| {
        let text = String::from_utf8(record.value.to_vec()).unwrap();
        let text = text.replace("\"audience\":\"channel\"", "\"audience\":\"user\"");
        assert!(text.contains("\"user\""));
        record.value = text.into();
    };
    vec![
        (with(900, &|r| r.value = "not json".into()), "not_an_envelope"),
        (
            with(901, &|r| r.value = Bytes::from(vec![0xfe; 900 * 1024])),
            "not_an_envelope",
        ),
        (with(902, &|r| r.headers = Headers::default()), "no_tenant"),
        (
            with(903, &|r| r.headers.push_raw(headers::TENANT, "globex")),
            "no_tenant",
        ),
        (
            with(904, &|r| r.headers.set(headers::TENANT, "globex")),
            "key_mismatch",
        ),
        (
            with(905, &|r| {
                r.headers.set(headers::TENANT, "globex");
                r.key = "globex".into();
            }),
            "tenant_mismatch",
        ),
        (with(906, &user_audience), "no_addressee"),
        (
            with(907, &|r| r.headers.set(headers::ID, id(1).to_string())),
            "id_mismatch",
        ),
        (
            with(908, &|r| r.headers.set(headers::SCHEMA, "envelope/9")),
            "unknown_schema",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_becomes_a_dead_letter_byte_for_byte_with_its_reason() {
    let stack = Stack::start().await;
    let poison = poison();
    for (n, (bad, _)) in poison.iter().enumerate() {
        stack
            .publish([
                record("acme", n as u64),
                bad.clone(),
                record("globex", 100 + n as u64),
            ])
            .await;
    }
    let router = stack.router();
    let letters = stack.dead_letters(poison.len()).await;
    for (bad, code) in &poison {
        let letter = letters
            .iter()
            .find(|letter| is_of(letter, bad))
            .unwrap_or_else(|| panic!("{code}"));
        assert_eq!(letter.headers.text(headers::ERROR_CODE), Some(*code));
        assert_eq!(letter.headers.text(headers::ERROR_CLASS), Some("permanent"));
        assert_eq!(letter.key.as_ref(), Some(&bad.key));
        let theirs: Vec<_> = letter.headers.iter().take(bad.headers.len()).collect();
        assert_eq!(theirs, bad.headers.iter().collect::<Vec<_>>(), "{code}");
        stands_where_it_says(&stack, letter).await;
    }
    let delivered = counts(&stack.deliveries(poison.len() * 2).await);
    assert!(delivered.len() == poison.len() * 2 && delivered.values().all(|n| *n == 1));
    router.stop().await;
    assert_eq!(
        stack.count(&stack.bus.topics.deliveries).await,
        poison.len() as i64 * 2
    );
    assert_eq!(
        stack.count(&stack.bus.topics.dead_letters).await,
        poison.len() as i64
    );
    stack.stop().await;
}

fn is_of(letter: &Record, bad: &Outgoing) -> bool {
    letter.value.as_ref() == Some(&bad.value) && letter.headers.get("x-trace") == bad.headers.get("x-trace")
}

/// Origin and Spring's headers name the place where these bytes stand.
async fn stands_where_it_says(stack: &Stack, letter: &Record) {
    let number = |name: &str| {
        letter
            .headers
            .get(name)
            .unwrap()
            .iter()
            .fold(0i64, |n, b| n << 8 | i64::from(*b))
    };
    let (partition, offset) = (number(headers::DLT_PARTITION), number(headers::DLT_OFFSET));
    assert_eq!(letter.headers.text(headers::DLT_TOPIC), Some(NOTIFICATIONS));
    let origin = format!("{NOTIFICATIONS}/{partition}/{offset}");
    assert_eq!(letter.headers.text(headers::ORIGIN), Some(origin.as_str()));
    let total = stack.count(NOTIFICATIONS).await as usize;
    let source = stack.read(NOTIFICATIONS, total).await;
    let there = source
        .iter()
        .find(|r| i64::from(r.partition) == partition && r.offset == offset);
    assert_eq!(there.unwrap().value, letter.value);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_that_the_store_refuses_alone_is_the_only_dead_letter() {
    let stack = Stack::start().await;
    stack.store.refuse(id(17));
    stack.store.refuse(id(40));
    stack.publish((0..50).map(|n| record("acme", n))).await;
    let router = stack.router();
    let letters = stack.dead_letters(2).await;
    for letter in &letters {
        assert_eq!(letter.headers.text(headers::ERROR_CODE), Some("store_refused"));
    }
    let dead: Vec<_> = letters
        .iter()
        .map(|l| {
            l.headers
                .text(headers::ID)
                .unwrap()
                .parse::<NotificationId>()
                .unwrap()
        })
        .collect();
    assert_eq!(dead, [id(17), id(40)]);
    assert_eq!(counts(&stack.deliveries(48).await).len(), 48);
    router.stop().await;
    stack.stop().await;
}
