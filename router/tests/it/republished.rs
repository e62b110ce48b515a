//! Published again: dispatched once.

use carillon_bus::Outgoing;
use carillon_fixtures::eventually;
use carillon_schemas::{headers, status::Status};

use crate::{
    records::{id, record},
    stack::{Stack, counts},
};

fn again(n: u64) -> Outgoing {
    let mut record = record("acme", n);
    record.headers.set(headers::REPUBLISHED, "1");
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dispatched_is_not_dispatched_again_and_what_was_not_is() {
    let stack = Stack::start().await;
    let router = stack.router();
    stack.publish([record("acme", 1)]).await;
    eventually(
        "status",
        || stack.status("acme", id(1)),
        |s| *s == Some(Status::Dispatched),
    )
    .await;

    stack.publish([again(1), again(2), record("acme", 3)]).await;
    let delivered = counts(&stack.deliveries(3).await);
    assert_eq!(
        (delivered[&id(1)], delivered[&id(2)], delivered[&id(3)]),
        (1, 1, 1)
    );
    router.stop().await;
    assert_eq!(stack.count(&stack.bus.topics.deliveries).await, 3);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_with_both_copies_is_dispatched_once() {
    let stack = Stack::start().await;
    stack
        .publish([record("acme", 1), again(1), again(2), again(2)])
        .await;
    let router = stack.router();
    let finished = async || router.metric("carillon_router_finished_total");
    eventually("finished", finished, |n| *n as u64 == 4).await;
    assert_eq!(
        router.metric("carillon_router_republished_dropped_total") as u64,
        2
    );
    router.stop().await;
    assert_eq!(stack.count(&stack.bus.topics.deliveries).await, 2);
    stack.stop().await;
}
