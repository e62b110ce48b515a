//! Refusals on the audit topic: what a tenant is refused stands in its trail.

use std::collections::BTreeMap;

use carillon_schemas::audit::{AuditEntry, AuditKind};

use crate::support::{Client, Stand};

#[tokio::test]
async fn what_a_known_tenant_is_refused_stands_in_its_trail_and_nothing_else_does() {
    let stand = Stand::configured(|config| config.sessions_per_tenant = 1).await;
    let deaf = stand.token_with("acme", "ann", |claims| claims.scope = Some("publish".to_owned()));
    assert_eq!(Client::bearer(stand.addr, &deaf).await.err().unwrap().status, 403);
    assert_eq!(
        Client::bearer(stand.addr, "nonsense").await.err().unwrap().status,
        401
    );
    let narrow = stand.token_with("acme", "ann", |claims| {
        claims.channels = Some(vec!["orders.*".to_owned()])
    });
    let mut client = Client::bearer(stand.addr, &narrow).await.unwrap();
    client.subscribed().await;
    assert_eq!(
        Client::bearer(stand.addr, &narrow).await.err().unwrap().status,
        503
    );
    client.say(r#"{"type":"subscribe","channels":["a","b"]}"#).await;
    client.error().await;
    client.error().await;
    client.say(r#"{"type":"auth","token":"nonsense"}"#).await;
    client.error().await;
    client
        .say(r#"{"type":"subscribe","tenant_id":"beta","channel":"a"}"#)
        .await;
    assert_eq!(client.closed().await, 4501);
    let mut counts = BTreeMap::new();
    stand
        .audited(|entry: &AuditEntry| {
            assert_eq!(
                (entry.tenant_id.as_str(), entry.kind),
                ("acme", AuditKind::Rejection)
            );
            assert_eq!(entry.node, "fanout-1");
            *counts.entry(entry.code.clone()).or_insert(0) += entry.count;
            counts.values().sum::<u64>() == 6
        })
        .await;
    let counts: Vec<(&str, u64)> = counts.iter().map(|(code, n)| (code.as_str(), *n)).collect();
    assert_eq!(
        counts,
        [
            ("bad_credential", 1),
            ("channel_forbidden", 2),
            ("overloaded", 1),
            ("scope_missing", 1),
            ("tenant_forbidden", 1)
        ]
    );
    stand.end().await;
}
