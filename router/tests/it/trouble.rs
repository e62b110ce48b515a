//! Trouble of the store or of Kafka: held in place, and over by itself.

use std::sync::atomic::Ordering;

use carillon_fixtures::eventually;
use carillon_schemas::{status::Status, topics::TopicSpec};

use crate::{
    records::{id, record},
    stack::{Stack, counts, order},
};

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_everything_waits_and_then_goes_on() {
    let stack = Stack::start().await;
    let router = stack.router();
    stack.publish((0..50).map(|n| record("acme", n))).await;
    eventually(
        "dispatched",
        || stack.status("acme", id(49)),
        |s| *s == Some(Status::Dispatched),
    )
    .await;

    stack.store.set_away(true);
    stack.publish((50..400).map(|n| record("acme", n))).await;
    let failed = async || stack.store.failed.load(Ordering::SeqCst);
    eventually("attempts", failed, |n| *n >= 5).await;
    let unmet = async || router.readiness.unmet();
    eventually("readiness", unmet, |u| u.iter().any(|(name, _)| *name == "store")).await;
    assert_eq!(stack.count(&stack.bus.topics.deliveries).await, 50);
    assert!(router.metric("carillon_router_held{dependency=\"store\"}") > 0.0);

    stack.store.set_away(false);
    eventually(
        "dispatched",
        || stack.status("acme", id(399)),
        |s| *s == Some(Status::Dispatched),
    )
    .await;
    eventually("readiness", async || router.readiness.unmet(), Vec::is_empty).await;
    router.stop().await;
    let deliveries = stack.deliveries(400).await;
    assert!(counts(&deliveries).values().all(|n| *n == 1));
    assert_eq!(order(&deliveries, "acme"), (0..400).map(id).collect::<Vec<_>>());
    assert_eq!(stack.count(&stack.bus.topics.deliveries).await, 400);
    assert_eq!(stack.count(&stack.bus.topics.dead_letters).await, 0);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kafka_is_away_everything_waits_and_then_goes_on() {
    let mut stack = Stack::start().await;
    let router = stack.router();
    stack.publish((0..50).map(|n| record("acme", n))).await;
    eventually(
        "dispatched",
        || stack.status("acme", id(49)),
        |s| *s == Some(Status::Dispatched),
    )
    .await;
    stack.publish((50..2_000).map(|n| record("acme", n))).await;
    stack.stop_broker().await;
    let unmet = async || router.readiness.unmet();
    eventually("readiness", unmet, |u| u.iter().any(|(name, _)| *name == "kafka")).await;

    stack.start_broker().await;
    stack.publish([record("acme", 2_000)]).await;
    eventually(
        "dispatched",
        || stack.status("acme", id(2_000)),
        |s| *s == Some(Status::Dispatched),
    )
    .await;
    eventually("readiness", async || router.readiness.unmet(), Vec::is_empty).await;
    router.stop().await;
    let total = stack.count(&stack.bus.topics.deliveries).await as usize;
    let deliveries = stack.deliveries(total).await;
    assert_eq!(counts(&deliveries).len(), 2_001);
    assert_eq!(
        order(&deliveries, "acme"),
        (0..=2_000).map(id).collect::<Vec<_>>()
    );
    assert_eq!(stack.count(&stack.bus.topics.dead_letters).await, 0);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_cannot_be_written_is_held_until_it_can() {
    let stack = Stack::without_topics().await;
    let dead_letters = stack.bus.topics.dead_letters.clone();
    let too_small = |spec: &mut TopicSpec| {
        if spec.name == dead_letters {
            spec.max_message_bytes = 100;
        }
    };
    stack.make_topics(too_small).await;
    let router = stack.router();
    let mut bad = record("acme", 1);
    bad.value = "junk".into();
    stack
        .publish([record("acme", 0), bad.clone(), record("acme", 2)])
        .await;
    let failures = async || router.metric("carillon_router_dead_letter_write_failures_total");
    eventually("failures", failures, |n| *n >= 2.0).await;
    assert!(router.metric("carillon_router_finished_total") < 3.0);
    let unmet = async || router.readiness.unmet();
    eventually("readiness", unmet, |u| u.iter().any(|(name, _)| *name == "kafka")).await;

    stack.make_topics(|_| {}).await;
    assert_eq!(stack.dead_letters(1).await[0].value.as_ref(), Some(&bad.value));
    eventually(
        "finished",
        async || router.metric("carillon_router_finished_total"),
        |n| *n >= 3.0,
    )
    .await;
    router.stop().await;
    assert_eq!(counts(&stack.deliveries(2).await).len(), 2);
    assert_eq!(stack.count(&dead_letters).await, 1);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_cannot_finish_in_time_says_so_and_loses_nothing() {
    let stack = Stack::start().await;
    stack.store.set_away(true);
    let mut config = carillon_router::RouterConfig::new("router", "router-1");
    config.shards = crate::stack::LAYOUT.shards;
    config.drain = std::time::Duration::from_millis(200);
    let router = stack.router_with(config);
    stack.publish((0..20).map(|n| record("acme", n))).await;
    eventually(
        "in flight",
        async || router.metric("carillon_router_in_flight_records"),
        |n| *n > 0.0,
    )
    .await;
    assert!(matches!(router.end().await, Err(carillon_router::RouterError::StillInFlight(n)) if n > 0));

    stack.store.set_away(false);
    let next = stack.router();
    assert_eq!(counts(&stack.deliveries(20).await).len(), 20);
    next.stop().await;
    stack.stop().await;
}
