//! Who may do what: tokens, scopes, tenants, channels.

use axum::body::Body;
use http::Method;

use crate::support::{Stage, request, submit};

const BODY: &str = r#"{"content":"x"}"#;
const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

#[tokio::test]
async fn no_token_a_bad_one_and_an_expired_one_are_401_with_a_challenge() {
    let stage = Stage::new().await;
    let mut claims = stage.claims("acme", "u1", "publish");
    claims.iat -= 7200;
    claims.nbf -= 7200;
    claims.exp -= 7200;
    let expired = stage.mint(&claims);
    let forged = Stage::new().await.token("acme", "publish");
    for (token, code, error) in [
        ("", "token_missing", false),
        ("a.b.c", "token_invalid", true),
        (&forged, "token_invalid", true),
        (&expired, "token_expired", true),
    ] {
        let answer = stage.send(submit(token, &[], BODY)).await;
        assert_eq!(answer.problem(), (401, code), "{token}");
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with("Bearer realm=\"carillon\""), "{challenge}");
        assert_eq!(
            challenge.contains("error=\"invalid_token\""),
            error,
            "{challenge}"
        );
        assert!(token.is_empty() || !answer.json.to_string().contains(token));
    }
    let basic = submit("", &[("authorization", "Basic dTpw")], BODY);
    assert_eq!(stage.send(basic).await.problem(), (401, "token_missing"));
}

#[tokio::test]
async fn every_route_refuses_who_has_no_token_and_who_lacks_its_scope() {
    let stage = Stage::new().await;
    let none = stage.token("acme", "listen");
    for (method, path, scope) in [
        (Method::POST, "/v1/notifications".to_owned(), "publish"),
        (
            Method::GET,
            format!("/v1/notifications/{ID}"),
            "read read:tenant operate admin",
        ),
        (
            Method::GET,
            "/v1/tenants/acme/deliveries".to_owned(),
            "read:tenant",
        ),
        (
            Method::GET,
            "/v1/tenants/acme/channels/a/recent".to_owned(),
            "read read:tenant operate admin",
        ),
        (Method::DELETE, format!("/v1/notifications/{ID}"), "publish"),
        (Method::GET, "/v1/tenants/acme/audit".to_owned(), "read:tenant"),
        (Method::GET, "/v1/tenants/acme/dead-letters".to_owned(), "operate"),
        (
            Method::GET,
            "/v1/tenants/acme/dead-letters/0-1".to_owned(),
            "operate",
        ),
        (
            Method::POST,
            "/v1/tenants/acme/dead-letters/redrive".to_owned(),
            "operate",
        ),
        (
            Method::POST,
            "/v1/tenants/acme/dead-letters/discard".to_owned(),
            "operate",
        ),
        (Method::GET, format!("/v1/tenants/acme/redrives/{ID}"), "operate"),
        (Method::POST, "/v1/tenants/acme/replays".to_owned(), "operate"),
        (Method::GET, format!("/v1/tenants/acme/replays/{ID}"), "operate"),
    ] {
        let to = |token: &str| request(method.clone(), &path, token, &[], Body::from(BODY));
        assert_eq!(stage.send(to("")).await.status, 401, "{path}");
        let answer = stage.send(to(&none)).await;
        assert_eq!(answer.problem(), (403, "scope_missing"), "{path}");
        let challenge = format!("error=\"insufficient_scope\", scope=\"{scope}\"");
        assert!(answer.header("www-authenticate").contains(&challenge), "{path}");
    }
    let reader = stage.token("acme", "read");
    assert_eq!(
        stage.get(&reader, "/v1/tenants/acme/deliveries").await.problem(),
        (403, "scope_missing")
    );
}

#[tokio::test]
async fn a_body_that_contradicts_the_tokens_tenant_is_403() {
    let stage = Stage::new().await;
    let answer = stage.post(r#"{"content":"x","tenant_id":"globex"}"#).await;
    assert_eq!(answer.problem(), (403, "tenant_mismatch"));
    assert_eq!(
        stage.post(r#"{"content":"x","tenant_id":"acme"}"#).await.status,
        202
    );
}

#[tokio::test]
async fn another_tenants_path_is_404_as_one_that_does_not_exist() {
    let stage = Stage::new().await;
    let token = stage.token("acme", "read read:tenant operate admin");
    for tenant in ["globex", "nobody", "NOT-A-TENANT"] {
        for path in [
            "deliveries",
            "channels/alerts/recent",
            "audit",
            "dead-letters",
            "dead-letters/0-1",
            "redrives/0190163d-8694-739b-aea5-966c26f8ad91",
            "replays/0190163d-8694-739b-aea5-966c26f8ad91",
        ] {
            let answer = stage.get(&token, &format!("/v1/tenants/{tenant}/{path}")).await;
            assert_eq!(answer.problem(), (404, "not_found"), "{tenant} {path}");
        }
        for path in ["dead-letters/redrive", "dead-letters/discard", "replays"] {
            let path = format!("/v1/tenants/{tenant}/{path}");
            let answer = stage.ask(&token, &path, r#"{"since":1,"until":2}"#).await;
            assert_eq!(answer.problem(), (404, "not_found"), "{path}");
        }
    }
    assert_eq!(stage.get(&token, "/v1/tenants/acme/deliveries").await.status, 200);
}

#[tokio::test]
async fn a_channel_outside_the_tokens_patterns_is_403_to_publish_and_to_read() {
    let stage = Stage::new().await;
    let mut claims = stage.claims("acme", "u1", "publish read");
    claims.channels = Some(vec!["orders".to_owned()]);
    let token = stage.mint(&claims);
    let post = |body: &'static str| stage.send(submit(&token, &[], body));
    assert_eq!(post(r#"{"content":"x","channel":"orders"}"#).await.status, 202);
    assert_eq!(
        post(r#"{"content":"x","channel":"alerts"}"#).await.problem(),
        (403, "channel_forbidden")
    );
    let recent = |channel: &str| format!("/v1/tenants/acme/channels/{channel}/recent");
    assert_eq!(stage.get(&token, &recent("orders")).await.status, 200);
    assert_eq!(
        stage.get(&token, &recent("alerts")).await.problem(),
        (403, "channel_forbidden")
    );
}

#[tokio::test]
async fn without_tokens_a_read_names_its_tenant() {
    let stage = Stage::open().await;
    let answer = stage.get("", &format!("/v1/notifications/{ID}")).await;
    assert_eq!(
        (answer.problem(), answer.paths()),
        ((400, "invalid_parameter"), vec!["tenant_id"])
    );
    let answer = stage
        .get("", &format!("/v1/notifications/{ID}?tenant_id=acme"))
        .await;
    assert_eq!(answer.problem(), (404, "not_found"));
    assert_eq!(stage.get("", "/v1/tenants/acme/deliveries").await.status, 200);
    assert_eq!(
        stage.get("", "/v1/tenants/ACME/deliveries").await.problem(),
        (400, "invalid_parameter")
    );
}
