//! Restarts: nothing is lost, and what is repeated is bounded.

use std::sync::atomic::{AtomicU64, Ordering};

use carillon_router::Batching;

use carillon_fixtures::eventually;

use crate::{
    records::{id, record},
    stack::{Running, Stack, counts, order},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_dies_in_the_middle_loses_nothing_and_keeps_the_order() {
    const ALL: u64 = 6_000;
    let stack = Stack::start().await;
    stack.publish((0..ALL).map(|n| record("acme", n))).await;
    for part in 1..=3 {
        let router = stack.router();
        let dispatched = async || router.metric("carillon_router_dispatched_total");
        eventually("dispatched", dispatched, |n| *n as u64 >= 300 * part).await;
        router.kill().await;
    }
    let last = stack.router();
    eventually(
        "status",
        || stack.status("acme", id(ALL - 1)),
        |s| s.is_some_and(|s| s.rank() >= carillon_schemas::status::Status::Dispatched.rank()),
    )
    .await;
    last.stop().await;
    let total = stack.count(&stack.bus.topics.deliveries).await as usize;
    let deliveries = stack.deliveries(total).await;
    assert_eq!(counts(&deliveries).len(), ALL as usize);
    assert_eq!(order(&deliveries, "acme"), (0..ALL).map(id).collect::<Vec<_>>());
    let window = Batching::default().in_flight_per_partition * 3;
    assert!(total - ALL as usize <= window, "{} repeats", total - ALL as usize);
    assert_eq!(stack.count(&stack.bus.topics.dead_letters).await, 0);
    stack.stop().await;
}

/// A group shares the partitions of all its topics by their number alone, and redrive has as many as the notifications.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_router_gets_its_share_of_the_notifications() {
    const TENANTS: u64 = 30;
    let stack = Stack::without_topics().await;
    let alike = ["notifications", "overflow", "redrive"];
    stack
        .make_topics(|spec| {
            if alike.iter().any(|name| spec.name.contains(name)) {
                spec.partitions = 6;
            }
        })
        .await;
    let first = stack.router();
    eventually("the first is alone", async || first.is_ready(), |ready| *ready).await;
    let second = stack.router();
    let round = AtomicU64::new(0);
    let takes = async |router: &Running| {
        let from = round.fetch_add(TENANTS, Ordering::Relaxed);
        let records = (0..TENANTS).map(|tenant| record(&format!("t{tenant}"), from + tenant));
        stack.publish(records).await;
        router.metric("carillon_router_records_total{source=\"main\"}")
    };
    eventually("the second has some", || takes(&second), |n| *n > 0.0).await;
    let before = takes(&first).await;
    let bound = before + (2 * TENANTS) as f64;
    eventually("the first has some still", || takes(&first), |n| *n > bound).await;
    first.stop().await;
    second.stop().await;
    stack.stop().await;
}
