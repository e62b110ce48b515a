//! What bad input gets: one test per row.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use carillon_schemas::limits;
use futures_util::stream;
use http::Method;

use crate::support::{Stage, request, submit};

#[tokio::test]
async fn what_is_not_json_is_400() {
    let stage = Stage::new().await;
    for bad in [
        "",
        "{",
        "nul",
        r#"{"content":"x"} y"#,
        r#"{"content":"x","content":"y"}"#,
    ] {
        assert_eq!(stage.post(bad).await.problem(), (400, "invalid_json"), "{bad}");
    }
    assert_eq!(
        stage.post(vec![0xff, 0xfe]).await.problem(),
        (400, "invalid_json")
    );
}

#[tokio::test]
async fn wrong_types_and_broken_rules_are_400_with_every_path() {
    let stage = Stage::new().await;
    let body = r#"{"tenant_id":"A","channel":7,"content":"","user_id":"u\u0001","audience":"all","data":[],
        "type":1,"correlation_id":"a b"}"#;
    let answer = stage.post(body).await;
    assert_eq!(answer.problem(), (400, "invalid_field"));
    let all = [
        "/tenant_id",
        "/channel",
        "/content",
        "/user_id",
        "/audience",
        "/type",
        "/data",
        "/correlation_id",
    ];
    assert_eq!(answer.paths(), all);
    let long = |n: usize| "x".repeat(n);
    for (path, body) in [
        ("/content", r#"{}"#.to_owned()),
        (
            "/content",
            format!(r#"{{"content":"{}"}}"#, long(limits::CONTENT_BYTES + 1)),
        ),
        (
            "/channel",
            format!(
                r#"{{"content":"x","channel":"{}"}}"#,
                long(limits::CHANNEL_BYTES + 1)
            ),
        ),
        (
            "/user_id",
            format!(
                r#"{{"content":"x","user_id":"{}"}}"#,
                long(limits::USER_ID_BYTES + 1)
            ),
        ),
        (
            "/title",
            format!(r#"{{"content":"x","title":"{}"}}"#, long(limits::TITLE_BYTES + 1)),
        ),
        ("/user_id", r#"{"content":"x","audience":"user"}"#.to_owned()),
        ("/channel", r#"{"content":"x","channel":"a\u0007"}"#.to_owned()),
        ("", r#"[]"#.to_owned()),
    ] {
        let answer = stage.post(body).await;
        assert_eq!(
            (answer.problem(), answer.paths()),
            ((400, "invalid_field"), vec![path])
        );
    }
}

#[tokio::test]
async fn a_moment_more_than_thirty_days_ahead_is_400_and_is_named() {
    let stage = Stage::new().await;
    let at = |ahead: u64| {
        let at = stage.clock.unix_ms() + limits::SCHEDULE_AHEAD_MS + ahead;
        format!(r#"{{"content":"x","deliver_at":{at}}}"#)
    };
    let answer = stage.post(at(60_000)).await;
    assert_eq!(
        (answer.problem(), answer.paths()),
        ((400, "invalid_field"), vec!["/deliver_at"])
    );
    assert_eq!(stage.post(at(0)).await.status, 202);
    assert_eq!(stage.post(r#"{"content":"x","deliver_at":1}"#).await.status, 202);
}

#[tokio::test]
async fn a_header_that_breaks_its_rule_is_400_and_is_named() {
    let stage = Stage::new().await;
    let long = "k".repeat(limits::IDEMPOTENCY_KEY_BYTES + 1);
    for (name, path, value) in [
        ("x-correlation-id", "X-Correlation-Id", "two words"),
        ("x-correlation-id", "X-Correlation-Id", ""),
        ("x-correlation-id", "X-Correlation-Id", &long),
        ("idempotency-key", "Idempotency-Key", ""),
        ("idempotency-key", "Idempotency-Key", "two words"),
        ("idempotency-key", "Idempotency-Key", &long),
    ] {
        let answer = stage.post_with(&[(name, value)], r#"{"content":"x"}"#).await;
        assert_eq!(
            (answer.problem(), answer.paths()),
            ((400, "invalid_parameter"), vec![path]),
            "{value}"
        );
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_whether_or_not_it_says_its_length() {
    let stage = Stage::new().await;
    let large = vec![b' '; limits::NOTIFICATION_BYTES + 1];
    let length = large.len().to_string();
    let answer = stage
        .post_with(&[("content-length", &length)], Body::empty())
        .await;
    assert_eq!(
        answer.problem(),
        (413, "body_too_large"),
        "refused by its length, unread"
    );
    assert_eq!(answer.header("connection"), "close");
    let pieces: Vec<_> = large
        .chunks(1000)
        .map(|c| Ok::<_, Infallible>(Bytes::copy_from_slice(c)))
        .collect();
    let answer = stage.post(Body::from_stream(stream::iter(pieces))).await;
    assert_eq!(answer.problem(), (413, "body_too_large"));
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_in_many_pieces_is_accepted() {
    let stage = Stage::new().await;
    let mut body = br#"{"content":"x"}"#.to_vec();
    body.resize(limits::NOTIFICATION_BYTES, b' ');
    let pieces: Vec<_> = body
        .chunks(7)
        .map(|c| Ok::<_, Infallible>(Bytes::copy_from_slice(c)))
        .collect();
    assert_eq!(
        stage.post(Body::from_stream(stream::iter(pieces))).await.status,
        202
    );
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408_and_one_that_breaks_off_is_400() {
    let stage = Stage::with(|s| s.config.body_deadline = Duration::from_millis(20)).await;
    let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let answer = stage.post(never).await;
    assert_eq!(answer.problem(), (408, "request_timeout"));
    assert_eq!(answer.header("connection"), "close");
    let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]));
    assert_eq!(stage.post(broken).await.problem(), (400, "invalid_json"));
}

#[tokio::test]
async fn another_content_type_or_a_compressed_body_is_415() {
    let stage = Stage::new().await;
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-type", "application/cloudevents+json"),
        ("content-encoding", "gzip"),
    ] {
        let answer = stage.post_with(&[(name, value)], r#"{"content":"x"}"#).await;
        assert_eq!(answer.problem(), (415, "unsupported_media_type"), "{value}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_with_the_methods_that_are_allowed() {
    let stage = Stage::new().await;
    for (method, path, allow) in [
        (Method::GET, "/v1/notifications", "POST"),
        (Method::PUT, "/v1/notifications/x", "GET,HEAD,DELETE"),
        (Method::GET, "/v1/tenants/acme/dead-letters/redrive", "POST"),
        (Method::POST, "/v1/tenants/acme/deliveries", "GET,HEAD"),
        (Method::PUT, "/v1/tenants/acme/channels/alerts/recent", "GET,HEAD"),
    ] {
        let answer = stage.send(request(method, path, "", &[], Body::empty())).await;
        assert_eq!(
            (answer.problem(), answer.header("allow")),
            ((405, "method_not_allowed"), allow),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_unknown_route_is_404_with_the_correlation_id_that_came() {
    let stage = Stage::new().await;
    for path in [
        "/",
        "/v1",
        "/v1/notifications/",
        "/v1/notifications/a/b",
        "/v2/notifications",
        "/%ff",
    ] {
        let request = request(
            Method::GET,
            path,
            "",
            &[("x-correlation-id", "req-7")],
            Body::empty(),
        );
        let answer = stage.send(request).await;
        assert_eq!(
            (answer.problem(), answer.header("x-correlation-id")),
            ((404, "not_found"), "req-7"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_refused_body_still_answers_with_the_correlation_id_that_it_names() {
    let stage = Stage::new().await;
    let body = r#"{"content":"x","tenant_id":"other","correlation_id":"from-body"}"#;
    let answer = stage
        .send(submit(&stage.token("acme", "publish"), &[], body))
        .await;
    assert_eq!(
        (answer.status, answer.header("x-correlation-id")),
        (403, "from-body")
    );
}

#[tokio::test]
async fn a_parameter_that_breaks_its_rule_is_400_and_every_one_is_named() {
    let stage = Stage::new().await;
    let token = stage.token("acme", "read:tenant");
    let base = "/v1/tenants/acme/deliveries";
    let query = "limit=0&cursor=nonsense&status=lost&channel=a%20b&since=yesterday";
    let answer = stage.get(&token, &format!("{base}?{query}")).await;
    assert_eq!(answer.problem(), (400, "invalid_parameter"));
    assert_eq!(answer.paths(), ["limit", "cursor", "status", "channel", "since"]);
    for query in ["limit=501", "limit=-1", "limit=1&limit=2"] {
        assert_eq!(
            stage.get(&token, &format!("{base}?{query}")).await.paths(),
            ["limit"],
            "{query}"
        );
    }
    for (path, name) in [
        ("/v1/notifications/not-a-uuid", "id"),
        ("/v1/tenants/acme/channels/a%20b/recent", "channel"),
        ("/v1/tenants/acme/channels/alerts/recent?n=0", "n"),
        ("/v1/tenants/acme/channels/alerts/recent?n=101", "n"),
    ] {
        let answer = stage.get(&token, path).await;
        assert_eq!(
            (answer.problem(), answer.paths()),
            ((400, "invalid_parameter"), vec![name]),
            "{path}"
        );
    }
}
