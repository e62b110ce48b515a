//! Receipts and audit entries of other roles: kept, once, whatever stands between them.

use carillon_chassis::clock::Clock;
use carillon_fixtures::eventually;
use carillon_schemas::{
    audit::{self, AuditEntry, AuditKind},
    headers,
    receipt::{self, Receipt, Receipts, Seen},
    status::Status,
};
use carillon_store::NotificationStore;
use uuid::Uuid;

use crate::{
    operator::beside,
    records::{id, record, tenant},
    stack::Stack,
};

fn receipts(tenant_name: &str, seen: &[(u64, Seen)]) -> Receipts {
    let entry = |&(n, seen): &(u64, Seen)| Receipt {
        notification_id: id(n),
        delivery: 1,
        attempt: 1,
        redrive: 0,
        at: 1_790_000_000_000 + n,
        seen,
    };
    Receipts {
        tenant_id: tenant(tenant_name),
        node: "fanout-1".to_owned(),
        entries: seen.iter().map(entry).collect(),
    }
}

async fn dispatched(stack: &Stack, tenant_name: &str, n: u64) {
    let status = || stack.status(tenant_name, id(n));
    eventually("status", status, |s| *s == Some(Status::Dispatched)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sockets_took_and_clients_acknowledged_becomes_state() {
    let stack = Stack::start().await;
    let router = stack.router();
    stack.publish([record("acme", 1), record("acme", 2)]).await;
    dispatched(&stack, "acme", 2).await;
    let topic = &stack.bus.topics.receipts;
    let seen = [
        (1, Seen::Delivered { sessions: 3 }),
        (2, Seen::Delivered { sessions: 1 }),
        (2, Seen::Acknowledged),
    ];
    let told = beside(topic, "acme", receipt::SCHEMA, &receipts("acme", &seen));
    let mut foreign = beside(
        topic,
        "globex",
        receipt::SCHEMA,
        &receipts("acme", &[(1, Seen::Expired)]),
    );
    foreign.headers.set(headers::TENANT, "globex");
    let mut junk = told.clone();
    junk.value = "junk".into();
    stack.publish([junk, foreign, told.clone(), told]).await;

    let status = || stack.status("acme", id(2));
    eventually("status", status, |s| *s == Some(Status::Acknowledged)).await;
    let acme = tenant("acme");
    let known = |n| stack.store.notification(&acme, id(n));
    let (first, second) = (known(1).await.unwrap().unwrap(), known(2).await.unwrap().unwrap());
    assert_eq!(
        (first.status, first.first_delivered_at, first.acked_at),
        (Status::Delivered, Some(1_790_000_000_001), None)
    );
    assert_eq!(second.acked_at, Some(1_790_000_000_002));
    let unreadable = async || router.metric("carillon_router_unreadable_total{topic=\"receipts\"}");
    eventually("unreadable", unreadable, |n| *n as u64 == 2).await;
    router.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_wait_for_the_store_and_keep_nothing_else_waiting() {
    let stack = Stack::start().await;
    let router = stack.router();
    stack.publish([record("acme", 1)]).await;
    dispatched(&stack, "acme", 1).await;
    stack.store.set_away(true);
    let topic = &stack.bus.topics.receipts;
    let told = receipts("acme", &[(1, Seen::Delivered { sessions: 1 })]);
    stack
        .publish([beside(topic, "acme", receipt::SCHEMA, &told)])
        .await;
    let unmet = async || router.readiness.unmet();
    eventually("unmet", unmet, |unmet| {
        unmet.iter().any(|(name, _)| *name == "store")
    })
    .await;
    router.kill().await;

    stack.store.set_away(false);
    let next = stack.router();
    let status = || stack.status("acme", id(1));
    eventually("status", status, |s| *s == Some(Status::Delivered)).await;
    next.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_entry_of_another_role_can_be_read_once_however_often_it_was_told() {
    let stack = Stack::start().await;
    let router = stack.router();
    let entry = AuditEntry {
        id: Uuid::from_u128(5),
        tenant_id: tenant("acme"),
        at: Clock::system().unix_ms(),
        kind: AuditKind::Rejection,
        code: "rate_limited".to_owned(),
        actor: Some("u1".to_owned()),
        node: "ingest-1".to_owned(),
        subject: None,
        count: 17,
        detail: None,
    };
    let topic = &stack.bus.topics.audit;
    let told = beside(topic, "acme", audit::SCHEMA, &entry);
    let mut last = entry.clone();
    (last.id, last.at) = (Uuid::from_u128(6), entry.at + 1);
    stack
        .publish([told.clone(), told, beside(topic, "acme", audit::SCHEMA, &last)])
        .await;
    let trail = eventually("trail", || stack.trail("acme"), |trail| trail.contains(&last)).await;
    assert_eq!(trail, [entry, last]);
    assert!(stack.trail("globex").await.is_empty());
    router.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_stand_in_the_trail_summed_by_code() {
    let stack = Stack::start().await;
    let router = stack.router();
    let newer = |n| {
        let mut record = record("acme", n);
        record.headers.set(headers::SCHEMA, "envelope/9");
        record
    };
    stack.publish((0..7).map(newer)).await;
    stack.dead_letters(7).await;
    router.stop().await;
    let next = stack.router();
    let counted = |trail: &Vec<AuditEntry>| trail.iter().map(|entry| entry.count).sum::<u64>() == 7;
    let trail = eventually("trail", || stack.trail("acme"), counted).await;
    let kinds = trail.iter().map(|entry| (entry.kind, entry.code.as_str()));
    assert!(
        kinds
            .into_iter()
            .all(|kind| kind == (AuditKind::DeadLetter, "unknown_schema"))
    );
    next.stop().await;
    stack.stop().await;
}
