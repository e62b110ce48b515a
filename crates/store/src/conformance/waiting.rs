//! Promises about notifications that wait for their `deliver_at`.

use std::{sync::atomic::AtomicI32, sync::atomic::Ordering, time::Duration};

use carillon_schemas::{TenantId, status::Status};

use super::{
    Subject,
    facts::{self, EPOCH_MS},
};
use crate::{Due, Scheduled};

const MINUTE_MS: u64 = 60_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A partition that no other test of the same database asks for.
fn partition(subject: &Subject) -> i32 {
    static NEXT: AtomicI32 = AtomicI32::new(0);
    (subject.run as i32 % 10_000) * 1_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 1_000
}

fn place(partition: i32, tenant: &TenantId, n: u64, due_at_ms: u64) -> Scheduled {
    Scheduled {
        partition,
        due_at_ms,
        tenant: tenant.clone(),
        id: facts::id(n),
    }
}

fn places(due: &[Due]) -> Vec<Scheduled> {
    due.iter().map(|due| due.place.clone()).collect()
}

pub async fn what_is_due_comes_in_its_order_and_stays_until_it_is_taken_out(subject: &Subject) {
    let (store, partition) = (&subject.store, partition(subject));
    let tenants = [subject.tenant("a"), subject.tenant("b")];
    let mut all: Vec<_> = (0..40)
        .map(|n| {
            let due_at = EPOCH_MS + (n * 37 % 40) / 2 * 25_000;
            place(partition, &tenants[n as usize % 2], n, due_at)
        })
        .collect();
    store.schedule(&all).await.unwrap();
    store.schedule(&all[..7]).await.unwrap();
    all.sort_by_key(|p| (p.due_at_ms, p.tenant.clone(), p.id));
    let due = async |at, limit| places(&subject.other.due(partition, at, limit).await.unwrap());
    let last = all[39].due_at_ms;
    assert_eq!(due(last, 100).await, all);
    assert_eq!(due(last - 1, 100).await, all[..38]);
    assert_eq!(due(last, 9).await, all[..9]);
    assert_eq!(due(EPOCH_MS - 1, 100).await, []);
    assert_eq!(due(last, 0).await, []);
    store.unschedule(&all[..5]).await.unwrap();
    store.unschedule(&all[3..5]).await.unwrap();
    assert_eq!(due(last, 100).await, all[5..]);
    assert!(
        store
            .due(partition + 500_000_000, last, 9)
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn what_was_due_long_ago_is_found(subject: &Subject) {
    let (store, partition, tenant) = (&subject.store, partition(subject), subject.tenant("a"));
    // Every hour for three days, and nobody looks.
    let all: Vec<_> = (0..72)
        .map(|n| place(partition, &tenant, n, EPOCH_MS + n * 60 * MINUTE_MS))
        .collect();
    store.schedule(&all).await.unwrap();
    subject.clock.advance(4 * DAY);
    let now = subject.clock.unix_ms();
    let mut found = Vec::new();
    loop {
        let due = places(&store.due(partition, now, 10).await.unwrap());
        if due.is_empty() {
            break;
        }
        store.unschedule(&due).await.unwrap();
        found.extend(due);
        assert!(found.len() <= all.len(), "it does not end");
    }
    assert_eq!(found, all);
    // Somebody comes late, into a minute that was looked at and empty.
    subject.clock.advance(Duration::from_secs(1));
    store.schedule(&all[..1]).await.unwrap();
    assert_eq!(places(&store.due(partition, now, 10).await.unwrap()), all[..1]);
}

pub async fn what_waits_is_kept_until_after_it_is_due(subject: &Subject) {
    let (store, partition, tenant) = (&subject.store, partition(subject), subject.tenant("a"));
    let due_at = EPOCH_MS + 29 * DAY.as_millis() as u64;
    let mut envelope = facts::envelope(&tenant, 1, "alerts");
    envelope.deliver_at = Some(due_at);
    let new = facts::sealed(envelope, 1, EPOCH_MS, "r");
    let fact = facts::note(&tenant, 1, facts::stamp(Status::Scheduled), EPOCH_MS, "r");
    let at = place(partition, &tenant, 1, due_at);
    store.persist(std::slice::from_ref(&new)).await.unwrap();
    store.note(&[fact]).await.unwrap();
    // One whose payload nobody has, and nobody knows.
    let bare = place(partition, &tenant, 2, due_at);
    store.schedule(&[at.clone(), bare.clone()]).await.unwrap();
    subject.clock.advance(29 * DAY);
    let due = store.due(partition, due_at, 9).await.unwrap();
    assert_eq!(places(&due), [at, bare]);
    assert_eq!(due[0].bytes.as_ref(), Some(&new.bytes));
    let head = due[0].head.unwrap();
    assert_eq!(head.stamp, facts::stamp(Status::Scheduled));
    assert!(due[1].bytes.is_none() && due[1].head.is_none());
    let known = async || store.notification(&tenant, facts::id(1)).await.unwrap();
    assert_eq!(known().await.unwrap().status, Status::Scheduled);
    let listed = store.deliveries(&tenant, &Default::default()).await.unwrap();
    assert!(listed.rows.len() == 1 || listed.next.is_some());
    subject.clock.advance(subject.retention - Duration::from_secs(1));
    assert!(known().await.is_some());
    subject.clock.advance(Duration::from_secs(1));
    assert!(known().await.is_none());
}
