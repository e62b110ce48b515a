//! The walk: from the notifications topic to the shard, through the store.

use carillon_fixtures::eventually;
use carillon_schemas::{Stream, headers, shard::shard, status::Status};
use carillon_store::NotificationStore;

use crate::{
    records::{envelope, id, record, tenant},
    stack::{LAYOUT, Stack, order},
};

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_stored_and_delivered_on_its_tenants_shard() {
    let stack = Stack::start().await;
    let router = stack.router();
    stack.publish([record("acme", 7)]).await;
    let delivery = stack.deliveries(1).await.remove(0);

    let alerts: Stream = "channel:alerts".parse().unwrap();
    let on = shard(&tenant("acme"), &alerts, LAYOUT.shards, 1);
    assert_eq!(delivery.partition, i32::from(on));
    assert_eq!(delivery.key.as_deref(), Some(&b"acme"[..]));
    let sealed = envelope("acme", 7).to_json().unwrap();
    assert_eq!(
        delivery.value.unwrap(),
        [&b"{\"delivery\":1,"[..], &sealed[1..]].concat()
    );
    assert_eq!(delivery.headers.text(headers::CORRELATION_ID), Some("req-7"));

    let status = || stack.status("acme", id(7));
    eventually("status", status, |s| *s == Some(Status::Dispatched)).await;
    let recent = stack
        .store
        .recent(&tenant("acme"), &alerts, 5, None)
        .await
        .unwrap();
    assert_eq!((recent.len(), recent[0].cursor.generation), (1, 1));
    assert_eq!(
        (recent[0].cursor.shard, recent[0].cursor.offset),
        (on, delivery.offset)
    );
    router.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tenants_order_is_kept_and_a_clean_stop_repeats_nothing() {
    const EACH: u64 = 700;
    let stack = Stack::start().await;
    let numbered = |n: u64| record(TENANTS[(n % 3) as usize], n);
    stack.publish((0..EACH * 3).map(numbered)).await;
    let first = stack.router();
    let all = EACH as usize * 3;
    eventually(
        "finished",
        async || first.metric("carillon_router_finished_total"),
        |n| *n as usize == all,
    )
    .await;
    first.stop().await;

    let second = stack.router();
    stack.publish([record("acme", 9_999)]).await;
    let deliveries = stack.deliveries(all + 1).await;
    for (at, name) in TENANTS.into_iter().enumerate() {
        let sent: Vec<_> = (0..EACH * 3).filter(|n| (n % 3) as usize == at).map(id).collect();
        assert!(order(&deliveries, name).starts_with(&sent), "{name}");
    }
    second.stop().await;
    assert_eq!(stack.count(&stack.bus.topics.deliveries).await, all as i64 + 1);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_is_ready_when_store_and_kafka_are_there_and_not_after_it_stopped() {
    let stack = Stack::start().await;
    let router = stack.router();
    eventually("ready", async || router.readiness.unmet(), Vec::is_empty).await;
    assert!(router.is_ready());
    let readiness = router.readiness.clone();
    router.stop().await;
    assert_eq!(readiness.unmet(), [("consumer", "stopped".to_owned())]);
    stack.stop().await;
}
