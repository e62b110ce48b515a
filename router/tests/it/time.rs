//! Time: what expires, what is replaced, what waits for its moment, and what asks to be acknowledged.

use carillon_chassis::clock::Clock;
use carillon_fixtures::eventually;
use carillon_schemas::{
    headers,
    status::{Stamp, Status},
};
use carillon_store::{Fact, NotificationStore};

use crate::{
    records::{changed, id, record, tenant},
    stack::{Stack, counts},
};

fn now_ms() -> u64 {
    Clock::system().unix_ms()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expired_is_told_and_not_delivered() {
    let stack = Stack::start().await;
    let router = stack.router();
    let expired = changed("acme", 1, |e| e.expires_at = Some(now_ms() - 1));
    let later = changed("acme", 2, |e| e.expires_at = Some(now_ms() + 60_000));
    stack.publish([expired, later]).await;
    eventually(
        "expired",
        || stack.status("acme", id(1)),
        |s| *s == Some(Status::Expired),
    )
    .await;
    let delivered = counts(&stack.deliveries(1).await);
    assert_eq!(delivered[&id(2)], 1);
    assert_eq!(router.metric("carillon_router_expired_total"), 1.0);
    router.stop().await;
    assert_eq!(stack.count(&stack.bus.topics.deliveries).await, 1);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_one_of_its_key_takes_the_place_of_what_is_not_delivered() {
    let stack = Stack::start().await;
    let keyed = |n: u64| changed("acme", n, |e| e.collapse_key = "price".parse().ok());
    stack
        .publish([keyed(1), record("acme", 2), keyed(3), keyed(4)])
        .await;
    let router = stack.router();
    for n in [1, 3] {
        let status = || stack.status("acme", id(n));
        eventually("collapsed", status, |s| *s == Some(Status::Collapsed)).await;
    }
    let delivered = counts(&stack.deliveries(2).await);
    assert!(delivered.contains_key(&id(2)) && delivered.contains_key(&id(4)));
    router.stop().await;
    assert_eq!(stack.count(&stack.bus.topics.deliveries).await, 2);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_moment_is_delivered_then_and_survives_a_restart() {
    let stack = Stack::start().await;
    let router = stack.router();
    let due = now_ms() + 2_500;
    stack
        .publish([changed("acme", 1, |e| e.deliver_at = Some(due))])
        .await;
    eventually(
        "scheduled",
        || stack.status("acme", id(1)),
        |s| *s == Some(Status::Scheduled),
    )
    .await;
    router.stop().await;
    assert_eq!(stack.count(&stack.bus.topics.deliveries).await, 0);
    let router = stack.router();
    let delivery = stack.deliveries(1).await.remove(0);
    let at = delivery.timestamp_ms.unwrap() as u64;
    assert!(
        at >= due && at < due + 2_000,
        "{} ms late",
        at as i64 - due as i64
    );
    eventually(
        "dispatched",
        || stack.status("acme", id(1)),
        |s| *s == Some(Status::Dispatched),
    )
    .await;
    let gone = async || {
        let mut rows = 0;
        for partition in 0..3 {
            rows += stack.store.due(partition, u64::MAX / 2, 9).await.unwrap().len();
        }
        rows
    };
    eventually("rows", gone, |rows| *rows == 0).await;
    router.stop().await;
    assert_eq!(stack.count(&stack.bus.topics.deliveries).await, 1);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_acknowledges_is_dispatched_again_and_at_last_is_a_dead_letter() {
    let stack = Stack::with_tiers(&["1s", "2s"]).await;
    let router = stack.router();
    let asking = |n| changed("acme", n, |e| e.require_ack = true);
    stack.publish([asking(1), asking(2)]).await;
    eventually(
        "dispatched",
        || stack.status("acme", id(2)),
        |s| *s == Some(Status::Dispatched),
    )
    .await;
    let acknowledged = Fact {
        tenant: tenant("acme"),
        id: id(2),
        stamp: Stamp {
            redrive: 0,
            attempt: 1,
            status: Status::Acknowledged,
        },
        at_ms: now_ms(),
        node: "fanout-1".into(),
        sessions: None,
    };
    stack.store.note(&[acknowledged]).await.unwrap();
    let letter = stack.dead_letters(1).await.remove(0);
    for (name, value) in [
        (headers::ERROR_CODE, "not_acknowledged"),
        (headers::ERROR_CLASS, "transient"),
        (headers::ID, &id(1).to_string()),
    ] {
        assert_eq!(letter.headers.text(name), Some(value), "{name}");
    }
    eventually(
        "dead",
        || stack.status("acme", id(1)),
        |s| *s == Some(Status::Dead),
    )
    .await;
    router.stop().await;
    let total = stack.count(&stack.bus.topics.deliveries).await as usize;
    let deliveries = stack.deliveries(total).await;
    let of = |n: u64| {
        let id = id(n).to_string();
        let of = deliveries
            .iter()
            .filter(|d| d.headers.text(headers::ID) == Some(&id));
        let counts = of.map(|d| d.headers.text(headers::DELIVERY).unwrap().to_owned());
        counts.collect::<Vec<_>>()
    };
    assert_eq!((of(1), of(2)), (vec!["1".to_owned()], vec!["1".to_owned()]));
    assert_eq!(stack.status("acme", id(2)).await, Some(Status::Acknowledged));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_repeat_has_its_delivery_count_and_its_attempt() {
    let stack = Stack::with_tiers(&["1s", "2s", "3s"]).await;
    let router = stack.router();
    stack
        .publish([changed("acme", 1, |e| e.require_ack = true)])
        .await;
    stack.dead_letters(1).await;
    router.stop().await;
    let deliveries = stack.deliveries(2).await;
    let stamp = |at: usize| {
        let text = |name| deliveries[at].headers.text(name);
        (text(headers::DELIVERY), text(headers::ATTEMPT))
    };
    assert_eq!(stamp(0), (Some("1"), None));
    assert_eq!(stamp(1), (Some("2"), Some("2")));
    let checks = stack.on_the_ladder().await;
    assert_eq!(checks.len(), 2);
    assert!(checks.iter().all(|c| c.headers.text(headers::CHECK) == Some("1")));
    stack.stop().await;
}
