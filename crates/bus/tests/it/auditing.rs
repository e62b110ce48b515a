//! The audit log: what is noted stands on the topic, summed, and what cannot be sent is counted.

use carillon_bus::{AuditEvent, AuditLog, Producer};
use carillon_chassis::{clock::Clock, tasks::Tasks};
use carillon_schemas::{
    TenantId,
    audit::{AuditEntry, AuditKind},
    headers,
};

use crate::{
    stage::{Lane, Stage, on_both_lanes},
    support::{PATIENCE, eventually, metric},
};

on_both_lanes!(
    what_is_noted_stands_on_the_topic_summed_by_tenant_and_code,
    what_is_noted_at_the_end_is_sent_at_once,
    events_that_cannot_be_sent_are_counted,
);

fn log(stage: &Stage, producer: &Producer) -> (AuditLog, Tasks) {
    let (place, tasks) = (&stage.place, Tasks::new());
    let clock = Clock::manual(1_700_000_000_000);
    let producer = producer.clone();
    let log = AuditLog::start(producer, &stage.topic, "node-1", clock, &place.metrics, &tasks);
    (log, tasks)
}

fn cancel(tenant: &TenantId) -> AuditEvent {
    AuditEvent {
        tenant: tenant.clone(),
        kind: AuditKind::Administration,
        code: "cancel",
        actor: Some("u1".to_owned()),
        subject: Some("a notification".to_owned()),
        detail: None,
    }
}

async fn entries(stage: &Stage, n: i64) -> Vec<AuditEntry> {
    let reader = stage.ranges();
    let page = reader.read(0, 0, n, usize::MAX, PATIENCE).await.unwrap();
    let entry = |record: &carillon_bus::Record| {
        let entry: AuditEntry = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        assert_eq!(
            record.headers.text(headers::TENANT),
            Some(entry.tenant_id.as_str())
        );
        assert_eq!(record.headers.text(headers::SCHEMA), Some("audit/1"));
        assert_eq!(record.key.as_deref(), Some(entry.tenant_id.as_str().as_bytes()));
        entry
    };
    page.records.iter().map(entry).collect()
}

async fn what_is_noted_stands_on_the_topic_summed_by_tenant_and_code(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    let producer = stage.place.producer();
    let (log, tasks) = log(&stage, &producer);
    let tenant: TenantId = "acme".parse().unwrap();
    log.note(cancel(&tenant));
    for _ in 0..5 {
        log.count(&tenant, AuditKind::Rejection, "rate_limited");
    }
    let written = || metric(&stage.place.metrics, "carillon_bus_audit_written_total") == Some(2.0);
    eventually("both entries are written", written).await;
    let entries = entries(&stage, 2).await;
    let seen: Vec<_> = entries.iter().map(|e| (&*e.code, e.count)).collect();
    assert_eq!(seen, [("cancel", 1), ("rate_limited", 5)]);
    assert_eq!(
        (entries[0].actor.as_deref(), &*entries[0].node),
        (Some("u1"), "node-1")
    );
    assert!(
        entries
            .iter()
            .all(|e| e.at == 1_700_000_000_000 && e.id.get_version_num() == 7)
    );
    assert!(tasks.close(PATIENCE).await.is_empty());
}

async fn what_is_noted_at_the_end_is_sent_at_once(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    let tenant: TenantId = "acme".parse().unwrap();
    let producer = stage.place.producer();
    let (log, tasks) = log(&stage, &producer);
    log.count(&tenant, AuditKind::Rejection, "not_found");
    assert!(tasks.close(PATIENCE).await.is_empty());
    log.note(cancel(&tenant));
    producer.flush(PATIENCE).await.unwrap();
    let codes: Vec<_> = entries(&stage, 2).await.into_iter().map(|e| e.code).collect();
    assert_eq!(codes, ["not_found", "cancel"]);
}

async fn events_that_cannot_be_sent_are_counted(lane: Lane) {
    let stage = Stage::bare(lane).await;
    let producer = stage.place.producer();
    let (log, tasks) = log(&stage, &producer);
    let tenant: TenantId = "acme".parse().unwrap();
    for _ in 0..3 {
        log.count(&tenant, AuditKind::Rejection, "not_found");
    }
    let lost = || metric(&stage.place.metrics, "carillon_bus_audit_lost_total") == Some(3.0);
    eventually("the events are counted as lost", lost).await;
    assert!(tasks.close(PATIENCE).await.is_empty());
}
