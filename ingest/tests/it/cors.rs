//! Pages of configured origins may call; others see nothing of it.

use axum::body::Body;
use http::Method;

use crate::support::{Stage, request, submit};

const HOME: &str = "https://app.example.test";

async fn stage(origins: &[&str]) -> Stage {
    let origins = origins.iter().map(|o| (*o).to_owned()).collect();
    Stage::with(|s| s.config.cors_origins = origins).await
}

fn preflight(origin: &str) -> http::Request<Body> {
    let headers = [("origin", origin), ("access-control-request-method", "POST")];
    request(Method::OPTIONS, "/v1/notifications", "", &headers, Body::empty())
}

#[tokio::test]
async fn a_page_of_a_configured_origin_may_post_and_read_its_errors() {
    let stage = stage(&[HOME]).await;
    let answer = stage.send(preflight(HOME)).await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (204, HOME)
    );
    assert!(
        answer
            .header("access-control-allow-headers")
            .contains("idempotency-key")
    );
    assert!(answer.header("access-control-allow-methods").contains("POST"));
    for (token, status) in [(stage.token("acme", "publish"), 202), (String::new(), 401)] {
        let answer = stage
            .send(submit(&token, &[("origin", HOME)], r#"{"content":"x"}"#))
            .await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (status, HOME)
        );
        assert!(
            answer
                .header("access-control-expose-headers")
                .contains("x-correlation-id")
        );
        assert_eq!(answer.header("vary"), "origin");
    }
}

#[tokio::test]
async fn another_origin_gets_no_leave_and_its_preflight_is_refused() {
    for stage in [stage(&[HOME]).await, Stage::new().await] {
        for origin in [
            "https://evil.example.test",
            "null",
            "https://app.example.test.evil.test",
        ] {
            let answer = stage.send(preflight(origin)).await;
            assert_eq!(answer.problem(), (405, "method_not_allowed"));
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
    }
}

#[tokio::test]
async fn any_origin_may_call_when_that_is_configured() {
    let stage = stage(&["*"]).await;
    let answer = stage.send(preflight("https://anything.test")).await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (204, "*")
    );
}
