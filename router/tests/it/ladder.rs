//! The ladder: what failed alone comes back on time, and what fails for ever ends.

use carillon_bus::Record;
use carillon_fixtures::eventually;
use carillon_schemas::{headers, status::Status};
use carillon_store::{DeadLettersQuery, NotificationStore};

use crate::{
    records::{id, record, tenant},
    stack::{Running, Stack, counts},
};

/// Writes that fail alone before a row is given up.
const LONE: usize = 3;

fn text<'r>(record: &'r Record, name: &str) -> &'r str {
    record
        .headers
        .text(name)
        .unwrap_or_else(|| panic!("{name} of {record:?}"))
}

async fn finished(router: &Running, count: u64) {
    let finished = async || router.metric("carillon_router_finished_total");
    eventually("finished", finished, |n| *n as u64 >= count).await;
}

/// A router that has written something.
async fn warm(stack: &Stack) -> Running {
    let router = stack.router();
    stack.publish([record("globex", 900)]).await;
    finished(&router, 1).await;
    router
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fails_alone_climbs_and_is_delivered_once() {
    let stack = Stack::with_tiers(&["1s", "2s"]).await;
    let router = warm(&stack).await;
    stack.store.slow(id(7), 2 * LONE);
    stack.publish((5..10).map(|n| record("acme", n))).await;
    let status = || stack.status("acme", id(7));
    eventually("retrying", status, |s| *s == Some(Status::Retrying)).await;
    eventually("dispatched", status, |s| *s == Some(Status::Dispatched)).await;
    finished(&router, 8).await;
    assert_eq!(
        router.metric("carillon_router_ladder_lateness_seconds_count"),
        2.0
    );
    assert_eq!(router.metric("dispatcher_events_retry_scheduled_total"), 2.0);
    assert!(router.is_ready());
    router.stop().await;

    let deliveries = stack.deliveries(6).await;
    assert!(counts(&deliveries).values().all(|n| *n == 1));
    let third = deliveries
        .iter()
        .find(|d| text(d, headers::ID) == id(7).to_string());
    let third = third.unwrap();
    assert_eq!(
        (text(third, headers::ATTEMPT), text(third, headers::DELIVERY)),
        ("3", "1")
    );
    let sealed = record("acme", 7).value;
    let begins = [&b"{\"delivery\":1,\"attempt\":3,"[..], &sealed[1..]].concat();
    assert_eq!(third.value.as_deref(), Some(&begins[..]));

    let waited = stack.on_the_ladder().await;
    assert_eq!(waited.len(), 2);
    for (at, retry) in waited.iter().enumerate() {
        assert_eq!(retry.value.as_ref(), Some(&sealed));
        assert_eq!(retry.key.as_deref(), Some(&b"acme"[..]));
        let n = (at + 1).to_string();
        for (name, value) in [
            (headers::ATTEMPT, n.as_str()),
            (headers::HOPS, &n),
            (headers::DELIVERY, "0"),
            (headers::REDRIVE_COUNT, "0"),
            (headers::ERROR_CLASS, "transient"),
            (headers::ERROR_CODE, "store_timeout"),
            (headers::ID, &id(7).to_string()),
        ] {
            assert_eq!(text(retry, name), value, "{name}");
        }
        assert!(text(retry, headers::ORIGIN).starts_with("carillon.notifications.v1/"));
    }
    assert_eq!(
        text(&waited[0], headers::ORIGIN),
        text(&waited[1], headers::ORIGIN)
    );
    assert_eq!(
        text(&waited[0], headers::FIRST_SEEN),
        text(&waited[1], headers::FIRST_SEEN)
    );
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_handled_before_it_is_due_nor_late_and_a_restart_changes_nothing() {
    const ALL: u64 = 20;
    let stack = Stack::with_tiers(&["2s"]).await;
    let router = warm(&stack).await;
    (0..ALL).for_each(|n| stack.store.slow(id(n), LONE));
    stack.publish((0..ALL).map(|n| record("acme", n))).await;
    let waiting = async || stack.count(&stack.bus.topics.retry[0].name).await;
    eventually("waiting", waiting, |n| *n == ALL as i64).await;
    router.stop().await;
    let router = stack.router();
    let delivered = async || stack.count(&stack.bus.topics.deliveries).await;
    eventually("delivered", delivered, |n| *n == 1 + ALL as i64).await;
    let retries = stack.on_the_ladder().await;
    let deliveries = stack.deliveries(1 + ALL as usize).await;
    for retry in &retries {
        let same = |d: &&Record| text(d, headers::ID) == text(retry, headers::ID);
        let delivery = deliveries.iter().find(same).unwrap();
        let waited = delivery.timestamp_ms.unwrap() - retry.timestamp_ms.unwrap();
        // The delivery's time is its producer's, of the same machine.
        assert!(waited >= 2_000, "{waited} ms");
        let due: i64 = text(retry, headers::NOT_BEFORE).parse().unwrap();
        assert!(due <= retry.timestamp_ms.unwrap() + 2_000);
    }
    router.stop().await;
    stack.stop().await;
}

/// Right after its start a router has written nothing that it could compare with.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_record_of_all_that_fails_alone_climbs_too() {
    let stack = Stack::with_tiers(&["1s"]).await;
    stack.store.slow(id(6), LONE);
    stack.publish([record("acme", 6)]).await;
    let router = stack.router();
    let status = || stack.status("acme", id(6));
    eventually("dispatched", status, |s| *s == Some(Status::Dispatched)).await;
    finished(&router, 2).await;
    router.stop().await;
    assert_eq!(stack.on_the_ladder().await.len(), 1);
    assert_eq!(counts(&stack.deliveries(1).await).len(), 1);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_six_attempts_a_record_is_a_dead_letter_with_its_class() {
    let stack = Stack::with_tiers(&["1s"]).await;
    let router = warm(&stack).await;
    stack.store.slow(id(3), usize::MAX);
    stack.publish([record("acme", 3), record("acme", 4)]).await;
    let dead = stack.dead_letters(1).await.remove(0);
    for (name, value) in [
        (headers::ERROR_CLASS, "transient"),
        (headers::ERROR_CODE, "store_timeout"),
        (headers::ATTEMPT, "5"),
        (headers::HOPS, "5"),
        (headers::DLT_TOPIC, "carillon.retry.1s.v1"),
    ] {
        assert_eq!(text(&dead, name), value, "{name}");
    }
    finished(&router, 8).await;
    router.stop().await;
    let rows = stack
        .store
        .dead_letters(
            &tenant("acme"),
            &DeadLettersQuery {
                limit: 9,
                ..Default::default()
            },
        )
        .await
        .unwrap()
        .rows;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].attempt, rows[0].error_code.as_str()),
        (6, "store_timeout")
    );
    assert_eq!(
        (rows[0].id.partition, rows[0].id.offset),
        (dead.partition, dead.offset)
    );
    assert_eq!(stack.on_the_ladder().await.len(), 5);
    assert_eq!(counts(&stack.deliveries(2).await).len(), 2);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_breaker_is_open_nothing_is_moved() {
    let stack = Stack::with_tiers(&["1s"]).await;
    let router = warm(&stack).await;
    stack.store.slow(id(50), LONE);
    stack.store.set_away(true);
    stack.publish((0..100).map(|n| record("acme", n))).await;
    let open = async || router.metric("carillon_router_breaker_open{dependency=\"store\"}");
    eventually("open", open, |open| *open == 1.0).await;
    let failed = stack.store.failed.load(std::sync::atomic::Ordering::SeqCst);
    let more = async || stack.store.failed.load(std::sync::atomic::Ordering::SeqCst);
    eventually("probes", more, |n| *n >= failed + 5).await;
    assert!(stack.on_the_ladder().await.is_empty());
    assert_eq!(stack.count(&stack.bus.topics.dead_letters).await, 0);
    stack.store.set_away(false);
    eventually("closed", open, |open| *open == 0.0).await;
    let status = || stack.status("acme", id(50));
    eventually("dispatched", status, |s| *s == Some(Status::Dispatched)).await;
    finished(&router, 102).await;
    router.stop().await;
    assert_eq!(stack.on_the_ladder().await.len(), 1);
    assert!(counts(&stack.deliveries(101).await).values().all(|n| *n == 1));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_is_gone_is_waited_for_and_named() {
    let stack = Stack::without_topics().await;
    stack.make_topics_but("carillon.retry.5s.v1").await;
    let router = warm(&stack).await;
    stack.store.slow(id(1), LONE);
    stack.publish([record("acme", 1)]).await;
    let unmet = async || router.readiness.unmet();
    eventually("unmet", unmet, |unmet| {
        unmet
            .iter()
            .any(|(name, why)| *name == "kafka" && why.contains("carillon.retry.5s.v1"))
    })
    .await;
    assert_eq!(stack.count(&stack.bus.topics.dead_letters).await, 0);
    stack.make_topics(|_| {}).await;
    let status = || stack.status("acme", id(1));
    eventually("dispatched", status, |s| *s == Some(Status::Dispatched)).await;
    eventually("ready", unmet, Vec::is_empty).await;
    router.stop().await;
    stack.stop().await;
}

/// The quickest of several counts: what poison costs its partition it costs every time, what a busy machine costs it
/// does not.
#[tokio::test(flavor = "multi_thread")]
async fn poison_does_not_delay_its_partition() {
    const ROUNDS: u64 = 8;
    let stack = Stack::start().await;
    let router = warm(&stack).await;
    for round in 0..ROUNDS {
        let mut bad = record("acme", 2 * round);
        bad.value = "junk".into();
        stack.publish([bad, record("acme", 2 * round + 1)]).await;
        finished(&router, 1 + 2 * (round + 1)).await;
    }
    let written = |records: Vec<Record>, n: u64| {
        let record = records
            .into_iter()
            .find(|r| text(r, headers::ID) == id(n).to_string());
        record.unwrap().timestamp_ms.unwrap()
    };
    let deliveries = stack.deliveries(1 + ROUNDS as usize).await;
    let all = stack.count("carillon.notifications.v1").await as usize;
    let sent = stack.read("carillon.notifications.v1", all).await;
    let took = |n| written(deliveries.clone(), n) - written(sent.clone(), n);
    let took: Vec<_> = (0..ROUNDS).map(|round| took(2 * round + 1)).collect();
    assert!(took.iter().any(|ms| *ms < 100), "{took:?} ms");
    router.stop().await;
    stack.stop().await;
}
