//! What stands in a tenant's audit trail: refusals, summed, and deeds, one by one.

use carillon_schemas::{
    audit::{AuditEntry, AuditKind},
    limits,
};

use crate::support::{Stage, submit};

async fn entries(stage: &Stage, n: usize) -> Vec<AuditEntry> {
    let records = stage.records_of(&stage.bus.topics.audit, n).await;
    let entry = |record: carillon_bus::Record| serde_json::from_slice(&record.value.unwrap()).unwrap();
    records.into_iter().map(entry).collect()
}

#[tokio::test]
async fn refusals_are_summed_per_tenant_and_code_where_the_tenant_is_known() {
    let stage = Stage::new().await;
    assert_eq!(stage.send(submit("", &[], "{}")).await.status, 401);
    assert_eq!(stage.send(submit("a.b.c", &[], "{}")).await.status, 401);
    let large = "x".repeat(limits::NOTIFICATION_BYTES + 1);
    assert_eq!(stage.post(large).await.status, 413);
    let other = stage.token("globex", "listen");
    for _ in 0..3 {
        assert_eq!(stage.send(submit(&other, &[], "{}")).await.status, 403);
        let foreign = r#"{"content":"x","tenant_id":"globex"}"#;
        assert_eq!(stage.post(foreign).await.status, 403);
    }
    let soon = carillon_schemas::NotificationId::at(stage.clock.unix_ms(), &[1; 10]);
    let reader = stage.token("acme", "read");
    let answer = stage.get(&reader, &format!("/v1/notifications/{soon}")).await;
    assert_eq!(answer.code(), "not_yet_visible");

    // A flush may fall between two of them: then one sum is two.
    let mut sums = std::collections::BTreeMap::new();
    let mut read = 3;
    while sums.values().sum::<u64>() < 7 {
        sums.clear();
        for entry in entries(&stage, read).await {
            assert_eq!((entry.kind, &entry.actor), (AuditKind::Rejection, &None));
            assert_eq!(entry.node, "ingest");
            *sums.entry((entry.tenant_id.to_string(), entry.code)).or_default() += entry.count;
        }
        read += 1;
    }
    let seen: Vec<_> = sums
        .iter()
        .map(|((t, c), n)| (t.as_str(), c.as_str(), *n))
        .collect();
    let expected = [
        ("acme", "body_too_large", 1),
        ("acme", "tenant_mismatch", 3),
        ("globex", "scope_missing", 3),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn who_asked_for_what_has_an_entry_of_its_own() {
    let stage = Stage::new().await;
    let token = stage.mint(&stage.claims("acme", "ops", "operate"));
    let job = stage
        .ask(&token, "/v1/tenants/acme/dead-letters/discard", "{}")
        .await;
    let entry = entries(&stage, 1).await.remove(0);
    assert_eq!(
        (entry.kind, entry.code.as_str()),
        (AuditKind::Administration, "discard")
    );
    assert_eq!(entry.actor.as_deref(), Some("ops"));
    assert_eq!(entry.subject.as_deref(), Some(job.text("id")));
    assert_eq!((entry.tenant_id.as_str(), entry.count), ("acme", 1));
}
