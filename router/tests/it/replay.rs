//! Replay: stored notifications again, marked as such.

use carillon_fixtures::eventually;
use carillon_schemas::{
    Stream, audit::AuditKind, command::Order, dead_letter::ReplayRequest, headers, status::Status,
};
use carillon_store::NotificationStore;

use crate::{
    operator::job_id,
    records::{id, record, tenant},
    stack::{Stack, counts},
};

fn request() -> ReplayRequest {
    ReplayRequest {
        replay_id: None,
        since: 1_760_000_000_000,
        until: 1_760_000_000_020,
        channel: None,
        rate_per_second: Some(10_000),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_is_dispatched_again_with_the_same_ids_and_marked() {
    const ALL: u64 = 30;
    let stack = Stack::start().await;
    let router = stack.router();
    stack.publish((0..ALL).map(|n| record("acme", n))).await;
    stack.publish((100..105).map(|n| record("globex", n))).await;
    let finished = async || router.metric("carillon_router_finished_total");
    eventually("finished", finished, |n| *n as u64 == ALL + 5).await;

    stack.order("acme", job_id(1), Order::Replay(request())).await;
    let job = stack.ended("acme", job_id(1)).await;
    assert_eq!((job.matched, job.moved, job.skipped), (20, 20, 0));
    let deliveries = stack.deliveries(ALL as usize + 5 + 20).await;
    let counts = counts(&deliveries);
    for n in 0..ALL {
        assert_eq!(counts[&id(n)], if n < 20 { 2 } else { 1 }, "{n}");
    }
    let count = (job.created_at / 1_000).to_string();
    let again: Vec<_> = deliveries
        .iter()
        .filter(|d| d.headers.text(headers::DELIVERY) == Some(count.as_str()))
        .collect();
    assert_eq!(again.len(), 20);
    for (n, delivery) in again.iter().enumerate() {
        assert_eq!(
            delivery.headers.text(headers::ID),
            Some(id(n as u64).to_string().as_str())
        );
        let value = delivery.value.as_ref().unwrap();
        let begins = format!("{{\"delivery\":{count},\"replayed\":true,");
        assert!(value.starts_with(begins.as_bytes()), "{value:?}");
    }
    let alerts: Stream = "channel:alerts".parse().unwrap();
    let recent = stack
        .store
        .recent(&tenant("acme"), &alerts, 20, None)
        .await
        .unwrap();
    assert!(
        recent
            .iter()
            .all(|row| u64::from(row.delivery) == job.created_at / 1_000)
    );
    assert_eq!(stack.status("acme", id(3)).await, Some(Status::Dispatched));
    let codes = stack.codes("acme", AuditKind::Replay).await;
    assert_eq!(codes, ["replay_begun", "replay_ended"]);
    router.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_goes_on_and_its_repeats_can_be_told() {
    const ALL: u64 = 200;
    let stack = Stack::start().await;
    let router = stack.router();
    stack.publish((0..ALL).map(|n| record("acme", n))).await;
    let finished = async || router.metric("carillon_router_finished_total");
    eventually("finished", finished, |n| *n as u64 == ALL).await;
    let slow = ReplayRequest {
        until: u64::MAX,
        rate_per_second: Some(200),
        ..request()
    };
    stack.order("acme", job_id(1), Order::Replay(slow)).await;
    let delivered = async || stack.count(&stack.bus.topics.deliveries).await as u64;
    eventually("deliveries", delivered, |n| *n >= ALL + 50).await;
    router.kill().await;

    let next = stack.router();
    let job = stack.ended("acme", job_id(1)).await;
    assert_eq!((job.matched, job.moved), (ALL, ALL));
    let deliveries = stack.deliveries(delivered().await as usize).await;
    let replayed = deliveries
        .iter()
        .filter(|d| d.headers.text(headers::DELIVERY) != Some("1"));
    let mut stamps: Vec<_> = replayed
        .map(|d| [headers::ID, headers::DELIVERY].map(|name| d.headers.text(name).unwrap().to_owned()))
        .collect();
    stamps.sort();
    stamps.dedup();
    assert_eq!(stamps.len() as u64, ALL);
    next.stop().await;
    stack.stop().await;
}
