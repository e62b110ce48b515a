//! The same key and the same body are the same notification, whatever happens in between.

use std::sync::Arc;

use bytes::Bytes;
use carillon_schemas::{NotificationId, TenantId, envelope::Envelope, headers, notification::Audience};
use carillon_store::{Claim, ClaimOutcome, NewNotification};
use futures_util::future::join_all;
use sha2::{Digest, Sha256};

use crate::support::{Stage, submit};

const BODY: &str = r#"{"content":"x","channel":"alerts"}"#;
const KEY: (&str, &str) = ("idempotency-key", "order-17");

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

/// What another replica did before it ended: it claimed the key of [`BODY`].
async fn claimed_elsewhere(stage: &Stage) -> Claim {
    let now = stage.clock.unix_ms();
    let claim = Claim {
        id: NotificationId::at(now - 5, &[7; 10]),
        body_hash: Sha256::digest(BODY).into(),
        at_ms: now - 5,
    };
    let outcome = stage
        .store
        .claim(&acme(), &"order-17".parse().unwrap(), &claim)
        .await;
    assert_eq!(outcome, Ok(ClaimOutcome::New));
    claim
}

#[tokio::test]
async fn a_repeat_is_answered_with_the_same_ids_and_not_published_again() {
    let stage = Stage::new().await;
    let first = stage.post_with(&[KEY], BODY).await;
    assert_eq!((first.status, first.json.get("deduplicated")), (202, None));
    let again = stage
        .post_with(&[KEY, ("x-correlation-id", "second")], BODY)
        .await;
    assert_eq!((again.status, &again.json["deduplicated"]), (202, &true.into()));
    for name in ["notification_id", "tenant_id", "channel", "correlation_id"] {
        assert_eq!(first.text(name), again.text(name), "{name}");
    }
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(
        again.header("x-correlation-id"),
        "second",
        "the header is the request's own"
    );
    assert_eq!(stage.metric("carillon_ingest_deduplicated_total"), 1.0);
    assert_eq!(stage.metric("carillon_ingest_republished_total"), 0.0);
    stage.post(r#"{"content":"the last one"}"#).await;
    assert_eq!(stage.records(2).await.len(), 2);
}

#[tokio::test]
async fn another_body_under_the_same_key_is_422() {
    let stage = Stage::new().await;
    assert_eq!(stage.post_with(&[KEY], BODY).await.status, 202);
    let answer = stage
        .post_with(&[KEY], r#"{"content":"y","channel":"alerts"}"#)
        .await;
    assert_eq!(answer.problem(), (422, "idempotency_key_reused"));
}

#[tokio::test]
async fn a_key_is_its_tenants_own() {
    let stage = Stage::new().await;
    let acme = stage.post_with(&[KEY], BODY).await;
    let globex = stage
        .send(submit(&stage.token("globex", "publish"), &[KEY], BODY))
        .await;
    assert_eq!((globex.status, globex.json.get("deduplicated")), (202, None));
    assert_ne!(acme.text("notification_id"), globex.text("notification_id"));
}

#[tokio::test]
async fn a_claim_that_nobody_can_say_was_published_is_published_again_under_its_id() {
    let stage = Stage::new().await;
    let claim = claimed_elsewhere(&stage).await;
    let answer = stage.post_with(&[KEY], BODY).await;
    assert_eq!((answer.status, &answer.json["deduplicated"]), (202, &true.into()));
    assert_eq!(answer.text("notification_id"), claim.id.to_string());
    let record = stage.records(1).await.remove(0);
    assert_eq!(record.headers.text(headers::REPUBLISHED), Some("1"));
    assert_eq!(
        record.headers.text(headers::ID),
        Some(claim.id.to_string().as_str())
    );
    let envelope = Envelope::from_json(record.value.as_ref().unwrap()).unwrap();
    assert_eq!(
        (envelope.notification_id, envelope.accepted_at),
        (claim.id, claim.at_ms)
    );
    // From here on this replica remembers.
    assert_eq!(stage.post_with(&[KEY], BODY).await.json["deduplicated"], true);
    assert_eq!(stage.metric("carillon_ingest_republished_total"), 1.0);
}

#[tokio::test]
async fn what_the_store_has_already_is_not_published_again() {
    let stage = Stage::new().await;
    let claim = claimed_elsewhere(&stage).await;
    let envelope = Envelope {
        priority: Default::default(),
        expires_at: None,
        collapse_key: None,
        require_ack: false,
        deliver_at: None,
        notification_id: claim.id,
        tenant_id: acme(),
        user_id: None,
        channel: "alerts".parse().unwrap(),
        audience: Audience::Channel,
        correlation_id: "first".parse().unwrap(),
        accepted_at: claim.at_ms,
        kind: None,
        title: None,
        content: "x".to_owned(),
        data: None,
    };
    let stored = NewNotification {
        redrive: 0,
        bytes: Bytes::from(envelope.to_json().unwrap()),
        stream: envelope.stream().unwrap(),
        envelope,
        attempt: 1,
        at_ms: claim.at_ms,
        node: Arc::from("router"),
    };
    stage.store.persist(&[stored]).await.unwrap();
    let answer = stage.post_with(&[KEY], BODY).await;
    assert_eq!(
        (answer.text("notification_id"), answer.text("correlation_id")),
        (&*claim.id.to_string(), "first")
    );
    assert_eq!(stage.metric("carillon_ingest_republished_total"), 0.0);
}

#[tokio::test]
async fn of_many_at_the_same_time_all_get_one_id_and_one_was_first() {
    let stage = Stage::new().await;
    let answers = join_all((0..20).map(|_| stage.post_with(&[KEY], BODY))).await;
    let first = answers
        .iter()
        .filter(|a| a.json.get("deduplicated").is_none())
        .count();
    assert_eq!(first, 1);
    for answer in &answers {
        assert_eq!(
            (answer.status, answer.text("notification_id")),
            (202, answers[0].text("notification_id"))
        );
    }
}

#[tokio::test]
async fn without_a_store_a_keyed_submit_is_503_and_one_without_a_key_is_accepted() {
    let stage = Stage::new().await;
    stage.store.close().await;
    assert_eq!(
        stage.post_with(&[KEY], BODY).await.problem(),
        (503, "unavailable")
    );
    assert_eq!(stage.post(BODY).await.status, 202);
    assert_eq!(stage.records(1).await.len(), 1, "nothing of the refused one");
}
