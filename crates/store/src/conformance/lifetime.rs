//! Promises about how long things are kept, and about the store's own end.

use std::time::Duration;

use carillon_schemas::status::Status;
use uuid::Uuid;

use super::{
    Subject,
    facts::{self, Fact},
    model::Model,
};
use crate::{AuditQuery, Claim, DeadLettersQuery, DeliveriesQuery, StoreError};

const SECOND: Duration = Duration::from_secs(1);

pub async fn what_is_older_than_the_retention_is_in_no_answer(subject: &Subject) {
    let tenant = subject.tenant("a");
    let ids: Vec<_> = (0..6).map(facts::id).collect();
    let told = |numbers: std::ops::Range<u64>| -> Vec<Fact> {
        let now = subject.clock.unix_ms();
        let new = numbers
            .clone()
            .map(|n| Fact::Persist(facts::new(&tenant, n, 1, now, "r")));
        new.chain(numbers.map(|n| Fact::Dispatched(facts::dispatched(&tenant, n, 1, 1, now, "r"))))
            .collect()
    };
    let (old, young) = (told(0..3), {
        subject.clock.advance(SECOND);
        told(3..6)
    });
    facts::tell(&*subject.store, &old).await.unwrap();
    facts::tell(&*subject.store, &young).await.unwrap();
    let all: Vec<_> = old.iter().chain(&young).cloned().collect();
    let tenants = [tenant];
    Model::of(&all).compare(&*subject.store, &tenants, &ids).await;
    subject.clock.advance(subject.retention - SECOND);
    Model::of(&young).compare(&*subject.store, &tenants, &ids).await;
    subject.clock.advance(SECOND);
    Model::default().compare(&*subject.store, &tenants, &ids).await;
    for n in 0..6 {
        assert!(
            subject
                .store
                .recent(&tenants[0], &facts::stream(n), 9, None)
                .await
                .unwrap()
                .is_empty()
        );
    }
}

pub async fn a_fact_keeps_its_notification_for_another_retention(subject: &Subject) {
    let tenant = subject.tenant("a");
    let now = subject.clock.unix_ms();
    subject
        .store
        .persist(&[facts::new(&tenant, 1, 1, now, "r")])
        .await
        .unwrap();
    subject.clock.advance(subject.retention / 2);
    let later = subject.clock.unix_ms();
    let fact = facts::dispatched(&tenant, 1, 1, 2, later, "r");
    subject.store.dispatched(&[fact]).await.unwrap();
    subject.clock.advance(subject.retention - SECOND);
    assert!(
        subject
            .store
            .notification(&tenant, facts::id(1))
            .await
            .unwrap()
            .is_some()
    );
    subject.clock.advance(SECOND);
    assert!(
        subject
            .store
            .notification(&tenant, facts::id(1))
            .await
            .unwrap()
            .is_none()
    );
}

pub async fn a_closed_store_says_that_it_is_closed(subject: &Subject) {
    let (store, tenant) = (&subject.store, subject.tenant("a"));
    let now = subject.clock.unix_ms();
    store
        .persist(&[facts::new(&tenant, 1, 1, now, "r")])
        .await
        .unwrap();
    store.close().await;
    store.close().await;
    let query = DeliveriesQuery::default();
    let claim = Claim {
        id: facts::id(1),
        body_hash: [0; 32],
        at_ms: now,
    };
    let closed = Some(StoreError::Closed);
    assert_eq!(
        store.persist(&[facts::new(&tenant, 2, 1, now, "r")]).await.err(),
        closed
    );
    assert_eq!(
        store
            .dispatched(&[facts::dispatched(&tenant, 1, 1, 1, now, "r")])
            .await
            .err(),
        closed
    );
    assert_eq!(
        store.dead(&[facts::dead(&tenant, 1, 1, now, "r")]).await.err(),
        closed
    );
    assert_eq!(store.notification(&tenant, facts::id(1)).await.err(), closed);
    assert_eq!(store.heads(&tenant, &[facts::id(1)]).await.err(), closed);
    assert_eq!(store.deliveries(&tenant, &query).await.err(), closed);
    assert_eq!(
        store.recent(&tenant, &facts::stream(1), 1, None).await.err(),
        closed
    );
    assert_eq!(
        store.claim(&tenant, &"key".parse().unwrap(), &claim).await.err(),
        closed
    );
    assert_eq!(store.ping().await.err(), closed);
    let letter = facts::dead(&tenant, 1, 1, now, "r").row.id;
    let note = facts::note(&tenant, 1, facts::stamp(Status::Delivered), now, "f");
    assert_eq!(store.note(&[note]).await.err(), closed);
    assert_eq!(store.latest(&tenant, &[]).await.err(), closed);
    assert_eq!(store.due(1, now, 1).await.err(), closed);
    assert_eq!(store.dead_letter(&tenant, letter).await.err(), closed);
    let query = DeadLettersQuery::default();
    assert_eq!(store.dead_letters(&tenant, &query).await.err(), closed);
    assert_eq!(store.job(&tenant, Uuid::nil()).await.err(), closed);
    let query = AuditQuery::default();
    assert_eq!(store.audit_trail(&tenant, &query).await.err(), closed);
}
