//! Promises about audit trails, and about reading stored notifications again.

use std::time::Duration;

use carillon_schemas::{
    NotificationId, TenantId,
    audit::{AuditEntry, AuditKind},
    status::Status,
};
use uuid::Uuid;

use super::{
    Subject,
    facts::{self, EPOCH_MS},
};
use crate::{AuditQuery, StoredQuery, StoredRow};

const HOUR_MS: u64 = 3_600_000;

/// Three share a moment, and there are some days of them.
fn entry(tenant: &TenantId, n: u64) -> AuditEntry {
    AuditEntry {
        id: Uuid::from_u128(u128::from(n) << 64 | 7),
        tenant_id: tenant.clone(),
        at: EPOCH_MS + n / 3 * HOUR_MS,
        kind: AuditKind::ALL[usize::from(n % 50 == 3)],
        code: format!("code-{n}"),
        actor: n.is_multiple_of(2).then(|| "ops".to_owned()),
        node: "ingest-0".to_owned(),
        subject: None,
        count: n,
        detail: Some(format!("of {tenant}")),
    }
}

async fn trail(subject: &Subject, tenant: &TenantId, mut query: AuditQuery) -> (Vec<AuditEntry>, usize) {
    let (mut entries, mut pages) = (Vec::new(), 0);
    loop {
        let page = subject.store.audit_trail(tenant, &query).await.unwrap();
        assert!(page.entries.len() <= query.limit as usize);
        entries.extend(page.entries);
        pages += 1;
        assert!(pages < 1_000, "it does not end");
        query.cursor = page.next;
        if page.next.is_none() {
            return (entries, pages);
        }
    }
}

pub async fn an_audit_trail_comes_page_by_page_and_each_entry_once(subject: &Subject) {
    let tenant = subject.tenant("a");
    let all: Vec<_> = (0..300).map(|n| entry(&tenant, n)).collect();
    let other = entry(&subject.tenant("b"), 5);
    subject.store.audit(&all[100..]).await.unwrap();
    subject.store.audit(&all[..150]).await.unwrap();
    subject.store.audit(std::slice::from_ref(&other)).await.unwrap();
    let query = |limit| AuditQuery {
        limit,
        ..AuditQuery::default()
    };
    let newest_first: Vec<_> = all.iter().rev().cloned().collect();
    assert_eq!(trail(subject, &tenant, query(7)).await.0, newest_first);
    assert_eq!(
        trail(subject, &other.tenant_id, query(7)).await.0,
        std::slice::from_ref(&other)
    );
    let between = AuditQuery {
        since_ms: Some(all[30].at),
        until_ms: Some(all[90].at),
        ..query(4)
    };
    let expected: Vec<_> = all[30..90].iter().rev().cloned().collect();
    assert_eq!(trail(subject, &tenant, between).await.0, expected);
    let of_kind = AuditQuery {
        kind: Some(AuditKind::ALL[1]),
        ..query(1)
    };
    let (found, pages) = trail(subject, &tenant, of_kind).await;
    let counts: Vec<_> = found.iter().map(|entry| entry.count).collect();
    assert_eq!(counts, [253, 203, 153, 103, 53, 3]);
    assert!(pages > 12, "a page looked at too much: {pages} pages");
}

pub async fn an_entry_ends_with_its_time(subject: &Subject) {
    let tenant = subject.tenant("a");
    subject.store.audit(&[entry(&tenant, 0)]).await.unwrap();
    subject.clock.advance(subject.retention - Duration::from_secs(1));
    assert_eq!(
        trail(
            subject,
            &tenant,
            AuditQuery {
                limit: 5,
                ..Default::default()
            }
        )
        .await
        .0
        .len(),
        1
    );
    subject.clock.advance(Duration::from_secs(1));
    assert_eq!(
        trail(
            subject,
            &tenant,
            AuditQuery {
                limit: 5,
                ..Default::default()
            }
        )
        .await
        .0,
        []
    );
}

async fn stored(subject: &Subject, tenant: &TenantId, mut query: StoredQuery) -> (Vec<StoredRow>, usize) {
    let (mut rows, mut pages) = (Vec::new(), 0);
    loop {
        let page = subject.store.stored(tenant, &query).await.unwrap();
        assert!(page.rows.len() <= query.limit as usize);
        rows.extend(page.rows);
        pages += 1;
        assert!(pages < 1_000, "it does not end");
        query.cursor = page.next;
        if page.next.is_none() {
            return (rows, pages);
        }
    }
}

fn ids(rows: &[StoredRow]) -> Vec<NotificationId> {
    rows.iter().map(|row| row.envelope.notification_id).collect()
}

pub async fn stored_notifications_come_again_oldest_first_with_their_payloads(subject: &Subject) {
    let (store, tenant) = (&subject.store, subject.tenant("a"));
    let new = |n| facts::new(&tenant, n, 1, EPOCH_MS + n, "r");
    let mut batch: Vec<_> = (0..400).map(new).collect();
    // One in another hour, after several empty ones.
    let mut late = facts::envelope(&tenant, 400, "alerts");
    late.accepted_at = EPOCH_MS + 9 * HOUR_MS;
    batch.push(facts::sealed(late, 1, EPOCH_MS + 9 * HOUR_MS, "r"));
    store.persist(&batch).await.unwrap();
    let sent = facts::dispatched(&tenant, 3, 1, 1, EPOCH_MS + 9, "r");
    store.dispatched(&[sent]).await.unwrap();
    // A fact without a payload is not stored.
    let fact = facts::note(&tenant, 900, facts::stamp(Status::Delivered), EPOCH_MS, "f");
    store.note(&[fact]).await.unwrap();
    let query = StoredQuery {
        limit: 7,
        cursor: None,
        since_ms: 0,
        until_ms: u64::MAX,
        channel: None,
    };
    let (rows, _) = stored(subject, &tenant, query.clone()).await;
    assert_eq!(ids(&rows), (0..401).map(facts::id).collect::<Vec<_>>());
    assert!(rows.iter().zip(&batch).all(|(row, new)| row.bytes == new.bytes));
    assert_eq!(rows[3].stamp, facts::stamp(Status::Dispatched));
    assert_eq!(rows[4].stamp, facts::stamp(Status::Stored));
    let behind = StoredQuery {
        cursor: Some(rows[41].after),
        ..query.clone()
    };
    assert_eq!(ids(&stored(subject, &tenant, behind).await.0), ids(&rows[42..]));
    let between = StoredQuery {
        since_ms: EPOCH_MS + 20,
        until_ms: EPOCH_MS + 50,
        channel: Some("news".parse().unwrap()),
        ..query.clone()
    };
    let odd: Vec<_> = (40..100).filter(|n| n % 2 == 1).map(facts::id).collect();
    assert_eq!(ids(&stored(subject, &tenant, between).await.0), odd);
    let none = StoredQuery {
        limit: 1,
        channel: Some("nothing".parse().unwrap()),
        ..query.clone()
    };
    let (rows, pages) = stored(subject, &tenant, none).await;
    assert!(
        rows.is_empty() && pages > 15,
        "a page looked at too much: {pages} pages"
    );
    let stranger = subject.tenant("b");
    assert!(stored(subject, &stranger, query).await.0.is_empty());
}

pub async fn a_page_of_large_payloads_is_short(subject: &Subject) {
    let (store, tenant) = (&subject.store, subject.tenant("a"));
    for part in 0..10u64 {
        let large = (part * 13..(part + 1) * 13).map(|n| {
            let mut envelope = facts::envelope(&tenant, n, "alerts");
            envelope.content = "x".repeat(60_000);
            facts::sealed(envelope, 1, EPOCH_MS + n, "r")
        });
        store.persist(&large.collect::<Vec<_>>()).await.unwrap();
    }
    let query = StoredQuery {
        limit: 500,
        cursor: None,
        since_ms: EPOCH_MS,
        until_ms: EPOCH_MS + HOUR_MS,
        channel: None,
    };
    let page = store.stored(&tenant, &query).await.unwrap();
    assert!(
        page.next.is_some() && page.rows.len() < 100,
        "{} rows",
        page.rows.len()
    );
    let (rows, pages) = stored(subject, &tenant, query).await;
    assert_eq!((rows.len(), pages), (130, 2));
}
