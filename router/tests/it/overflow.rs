//! The overflow: a flood waits there in its order, and nobody else behind it.

use std::time::{Duration, Instant};

use carillon_fixtures::eventually;
use carillon_schemas::{headers, status::Status};

use crate::{
    records::{id, record},
    stack::{Running, Stack, counts, order},
};

const FLOOD: u64 = 4_000;
/// How long a tenant may take to leave.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_goes_through_the_overflow_in_order_and_others_pass_it() {
    let stack = Stack::start().await;
    stack.store.set_pause(Duration::from_millis(20));
    let router = stack.router();
    stack.publish((0..FLOOD).map(|n| record("acme", n))).await;
    let overflowed = async || router.metric("carillon_router_overflowed_total");
    eventually("overflowed", overflowed, |n| *n > 500.0).await;
    stack.publish((0..20).map(|n| record("globex", 10_000 + n))).await;
    let victim = || stack.status("globex", id(10_019));
    eventually("the victim", victim, |s| *s == Some(Status::Dispatched)).await;
    let done = router.metric("carillon_router_dispatched_total");
    assert!(done < FLOOD as f64, "the victim waited for {done} records");
    stack.store.set_pause(Duration::ZERO);
    let last = || stack.status("acme", id(FLOOD - 1));
    eventually("the last", last, |s| *s == Some(Status::Dispatched)).await;
    let finished = async || router.metric("carillon_router_dispatched_total");
    eventually("all", finished, |n| *n as u64 == FLOOD + 20).await;

    // Who has nothing there any more goes the straight way again.
    let before = overflowed().await;
    stack
        .publish((FLOOD..FLOOD + 50).map(|n| record("acme", n)))
        .await;
    eventually("all", finished, |n| *n as u64 == FLOOD + 70).await;
    assert_eq!(overflowed().await, before);
    router.stop().await;

    let deliveries = stack.deliveries(FLOOD as usize + 70).await;
    assert!(counts(&deliveries).values().all(|n| *n == 1));
    let expected: Vec<_> = (0..FLOOD + 50).map(id).collect();
    assert_eq!(order(&deliveries, "acme"), expected);
    let overflow = stack.bus.topics.overflow.clone();
    let moved = stack.read(&overflow, stack.count(&overflow).await as usize).await;
    for record in &moved {
        let origin = record.headers.text(headers::ORIGIN).unwrap();
        let from = format!("carillon.notifications.v1/{}/", record.partition);
        assert!(origin.starts_with(&from), "{origin}");
        assert_eq!(record.headers.text(headers::HOPS), Some("1"));
        assert_eq!(record.headers.text(headers::ATTEMPT), Some("1"));
    }
    stack.stop().await;
}

/// After a flood of `acme`, sends its records faster than one of them takes, so that something of it is always
/// unfinished: until so many were sent since the last that overflowed. Gives how many there are.
async fn flood_and_go_on(stack: &Stack, router: &Running, since: u64) -> u64 {
    stack.store.set_pause(Duration::from_millis(20));
    stack.publish((0..FLOOD).map(|n| record("acme", n))).await;
    let overflowed = || router.metric("carillon_router_overflowed_total") as u64;
    eventually("overflowed", async || overflowed(), |n| *n > 500).await;
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    let (mut sent, mut last) = (FLOOD, (overflowed(), FLOOD));
    let began = Instant::now();
    while sent < last.1 + since {
        assert!(began.elapsed() < PATIENCE, "{} overflowed", overflowed());
        pace.tick().await;
        stack.publish([record("acme", sent)]).await;
        sent += 1;
        if overflowed() > last.0 {
            last = (overflowed(), sent);
        }
    }
    sent
}

async fn come_in_order(stack: &Stack, router: Running, sent: u64) {
    let dispatched = async || router.metric("carillon_router_dispatched_total") as u64;
    eventually("all", dispatched, |n| *n == sent).await;
    router.stop().await;
    let deliveries = stack.deliveries(sent as usize).await;
    assert_eq!(order(&deliveries, "acme"), (0..sent).map(id).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_records_never_cease_leaves_the_overflow_after_its_flood() {
    let stack = Stack::start().await;
    let router = stack.router();
    let sent = flood_and_go_on(&stack, &router, 100).await;
    come_in_order(&stack, router, sent).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_back_goes_on_although_nothing_comes_after_it() {
    let stack = Stack::start().await;
    let router = stack.router();
    // The last few did not go to the overflow, and what is there is not finished.
    let sent = flood_and_go_on(&stack, &router, 5).await;
    come_in_order(&stack, router, sent).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_that_die_in_a_flood_lose_nothing_and_keep_the_order() {
    let stack = Stack::start().await;
    stack.store.set_pause(Duration::from_millis(5));
    stack.publish((0..FLOOD).map(|n| record("acme", n))).await;
    let mut total = 0.0;
    for part in 1..=3 {
        let router = stack.router();
        let dispatched = async || router.metric("carillon_router_dispatched_total");
        eventually("dispatched", dispatched, |n| *n >= 300.0).await;
        total += router.metric("carillon_router_overflowed_total");
        if part == 2 {
            router.stop().await;
        } else {
            router.kill().await;
        }
    }
    assert!(total > 0.0);
    stack.store.set_pause(Duration::ZERO);
    let router = stack.router();
    let last = || stack.status("acme", id(FLOOD - 1));
    eventually("the last", last, |s| *s == Some(Status::Dispatched)).await;
    let in_flight = async || router.metric("carillon_router_in_flight_records");
    eventually("nothing in flight", in_flight, |n| *n == 0.0).await;
    router.stop().await;
    let count = stack.count(&stack.bus.topics.deliveries).await as usize;
    let deliveries = stack.deliveries(count).await;
    assert_eq!(counts(&deliveries).len(), FLOOD as usize);
    assert_eq!(order(&deliveries, "acme"), (0..FLOOD).map(id).collect::<Vec<_>>());
    assert_eq!(stack.count(&stack.bus.topics.dead_letters).await, 0);
    stack.stop().await;
}
