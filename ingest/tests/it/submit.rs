//! A submit that is accepted: what the caller hears, and what Kafka has.

use carillon_schemas::{envelope::Envelope, headers, notification::Audience};

use crate::support::{Stage, submit};

#[tokio::test]
async fn a_202_means_that_kafka_has_the_envelope_with_its_headers() {
    let stage = Stage::new().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let body = r#"{"tenant_id":"acme","channel":"alerts","content":"disk almost full","user_id":"u9",
        "type":"disk","title":"Disk","data":{"percent": 93.5},"nobody_knows":1}"#;
    let answer = stage
        .post_with(&[("x-correlation-id", "req-7"), ("traceparent", trace)], body)
        .await;
    assert_eq!(answer.status, 202, "{}", answer.json);
    let id = answer.text("notification_id");
    assert_eq!(answer.header("location"), format!("/v1/notifications/{id}"));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-correlation-id"), "req-7");
    let said = ["status", "tenant_id", "channel", "correlation_id"].map(|name| answer.text(name));
    assert_eq!(said, ["accepted", "acme", "alerts", "req-7"]);
    assert!(answer.json.get("deduplicated").is_none());

    let record = stage.records(1).await.remove(0);
    let envelope = Envelope::from_json(record.value.as_ref().unwrap()).unwrap();
    assert_eq!(envelope.notification_id.to_string(), id);
    assert!(
        envelope
            .notification_id
            .unix_ms()
            .is_some_and(|at| at == envelope.accepted_at)
    );
    assert_eq!(
        (envelope.content.as_str(), envelope.audience),
        ("disk almost full", Audience::Channel)
    );
    assert_eq!(envelope.data.unwrap().get(), r#"{"percent": 93.5}"#);
    assert_eq!(record.key.as_deref(), Some(&b"acme"[..]));
    let header = |name| record.headers.text(name).unwrap_or("");
    let carried = [
        headers::TENANT,
        headers::ID,
        headers::SCHEMA,
        headers::CORRELATION_ID,
        headers::TRACEPARENT,
    ]
    .map(header);
    assert_eq!(carried, ["acme", id, "envelope/1", "req-7", trace]);
    assert_eq!(record.headers.len(), 5);
}

#[tokio::test]
async fn the_correlation_id_is_the_headers_else_the_bodys_else_made_up() {
    let stage = Stage::new().await;
    let body = r#"{"content":"x","correlation_id":"from-body"}"#;
    let answer = stage
        .post_with(&[("x-correlation-id", "from-header")], body)
        .await;
    assert_eq!(answer.text("correlation_id"), "from-header");
    let answer = stage.post(body).await;
    assert_eq!(
        (answer.text("correlation_id"), answer.header("x-correlation-id")),
        ("from-body", "from-body")
    );
    let answer = stage.post(r#"{"content":"x"}"#).await;
    assert_eq!(answer.text("correlation_id"), answer.header("x-correlation-id"));
    assert_eq!(answer.text("correlation_id").len(), 36);
}

#[tokio::test]
async fn a_broken_trace_context_is_left_behind() {
    let stage = Stage::new().await;
    assert_eq!(
        stage
            .post_with(&[("traceparent", "nonsense")], r#"{"content":"x"}"#)
            .await
            .status,
        202
    );
    assert_eq!(stage.records(1).await[0].headers.get(headers::TRACEPARENT), None);
}

#[tokio::test]
async fn the_channel_is_default_when_none_is_named_and_identical_bodies_are_two_notifications() {
    let stage = Stage::new().await;
    let (one, two) = (
        stage.post(r#"{"content":"x"}"#).await,
        stage.post(r#"{"content":"x"}"#).await,
    );
    assert_eq!((one.text("channel"), two.text("channel")), ("default", "default"));
    assert_ne!(one.text("notification_id"), two.text("notification_id"));
    assert_eq!(stage.records(2).await.len(), 2);
}

#[tokio::test]
async fn json_is_what_has_no_type_or_says_so_with_any_charset() {
    let stage = Stage::new().await;
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
    ] {
        assert_eq!(
            stage
                .post_with(&[("content-type", kind)], r#"{"content":"x"}"#)
                .await
                .status,
            202
        );
    }
    assert_eq!(stage.post(r#"{"content":"x"}"#).await.status, 202);
}

#[tokio::test]
async fn without_tokens_the_tenant_is_the_bodys_and_a_token_is_ignored() {
    let stage = Stage::open().await;
    let body = r#"{"tenant_id":"tenant-a","user_id":"u1","channel":"alerts","content":"x"}"#;
    for token in ["", "nonsense"] {
        let answer = stage.send(submit(token, &[], body)).await;
        assert_eq!((answer.status, answer.text("tenant_id")), (202, "tenant-a"));
    }
    let answer = stage.send(submit("", &[], r#"{"content":"x"}"#)).await;
    assert_eq!(
        (answer.problem(), answer.paths()),
        ((400, "invalid_field"), vec!["/tenant_id"])
    );
}

#[tokio::test]
async fn accepted_and_refused_submits_are_counted_under_both_names() {
    let stage = Stage::new().await;
    stage.post(r#"{"content":"x"}"#).await;
    stage.post("{").await;
    let read_refused = stage.get("", "/v1/notifications/x").await;
    assert_eq!(read_refused.status, 401);
    for (name, value) in [
        ("carillon_ingest_accepted_total", 1.0),
        ("notifications_ingested_total", 1.0),
        ("carillon_ingest_accept_seconds_count", 1.0),
        ("notifications_rejected_total", 1.0),
        (r#"carillon_ingest_refused_total{code="invalid_json"}"#, 1.0),
        (r#"carillon_ingest_refused_total{code="token_missing"}"#, 1.0),
        ("notifications_backpressure_rejected_total", 0.0),
        ("carillon_ingest_in_flight", 0.0),
    ] {
        assert_eq!(stage.metric(name), value, "{name}");
    }
}
