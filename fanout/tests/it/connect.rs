//! Coming in: credentials, origins, versions, caps.

use std::num::NonZeroU32;

use carillon_schemas::frame::ErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Client, Stand, Wish, closed_with};

#[tokio::test]
async fn a_good_token_is_taken_wherever_it_stands() {
    let stand = Stand::start().await;
    let token = stand.token("acme", "ann");
    let mut ways = vec![
        Client::bearer(stand.addr, &token).await.unwrap(),
        Client::connect(stand.addr, &format!("/ws?access_token={token}"), &[])
            .await
            .unwrap(),
    ];
    let offered = format!("carillon.v1, bearer.{token}");
    let offering = Client::connect(stand.addr, "/ws", &[("sec-websocket-protocol", &offered)])
        .await
        .unwrap();
    assert_eq!(offering.protocol.as_deref(), Some("carillon.v1"));
    ways.push(offering);
    for mut client in ways {
        assert_eq!(client.subscribed().await.0, "user:ann");
    }
    stand.end().await;
}

#[tokio::test]
async fn a_bad_header_token_is_401_before_the_upgrade() {
    let stand = Stand::start().await;
    for (bad, code) in [
        ("Bearer nonsense", "token_invalid"),
        ("Basic dTpw", "token_missing"),
    ] {
        let refused = Client::connect(stand.addr, "/ws", &[("authorization", bad)])
            .await
            .err()
            .unwrap();
        assert_eq!(
            (refused.status, refused.body["code"].as_str().unwrap()),
            (401, code)
        );
        assert!(
            refused.headers["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Bearer")
        );
        assert!(refused.headers.contains_key("x-correlation-id"));
    }
    let missing = Client::connect(stand.addr, "/ws", &[]).await.err().unwrap();
    assert_eq!(missing.status, 401);
    stand.end().await;
}

#[tokio::test]
async fn a_bad_token_from_a_browser_is_told_over_the_socket_and_closed_with_4500() {
    let stand = Stand::configured(|config| config.origins = vec!["https://app.example".to_owned()]).await;
    let expired = stand.token_with("acme", "ann", |claims| {
        (claims.iat, claims.nbf, claims.exp) = (claims.iat - 900, claims.nbf - 900, claims.exp - 4200);
    });
    let offered = "carillon.v1, bearer.nonsense";
    for (path, headers) in [
        ("/ws?access_token=nonsense".to_owned(), vec![]),
        (format!("/ws?access_token={expired}"), vec![]),
        ("/ws?ticket=later".to_owned(), vec![]),
        ("/ws".to_owned(), vec![("sec-websocket-protocol", offered)]),
        ("/ws".to_owned(), vec![("origin", "https://app.example")]),
    ] {
        let mut client = Client::connect(stand.addr, &path, &headers).await.unwrap();
        assert_eq!(
            closed_with(&mut client).await,
            (ErrorCode::BadCredential, 4500),
            "{path} {headers:?}"
        );
    }
    stand.end().await;
}

#[tokio::test]
async fn a_token_without_the_scope_listen_is_403_or_closed_with_4501() {
    let stand = Stand::start().await;
    let token = stand.token_with("acme", "ann", |claims| claims.scope = Some("publish".to_owned()));
    let refused = Client::bearer(stand.addr, &token).await.err().unwrap();
    assert_eq!(
        (refused.status, refused.body["code"].as_str().unwrap()),
        (403, "scope_missing")
    );
    let mut client = Client::connect(stand.addr, &format!("/ws?access_token={token}"), &[])
        .await
        .unwrap();
    assert_eq!(closed_with(&mut client).await.1, 4501);
    stand.end().await;
}

#[tokio::test]
async fn tokens_in_the_query_can_be_switched_off() {
    let stand = Stand::configured(|config| config.query_tokens = false).await;
    let path = format!("/ws?access_token={}", stand.token("acme", "ann"));
    let mut client = Client::connect(stand.addr, &path, &[]).await.unwrap();
    assert_eq!(closed_with(&mut client).await.1, 4500);
    stand.end().await;
}

#[tokio::test]
async fn a_browser_from_elsewhere_is_refused() {
    let stand = Stand::configured(|config| config.origins = vec!["https://app.example".to_owned()]).await;
    let bearer = format!("Bearer {}", stand.token("acme", "ann"));
    let from = |origin| [("authorization", bearer.as_str()), ("origin", origin)];
    assert!(
        Client::connect(stand.addr, "/ws", &from("https://app.example"))
            .await
            .is_ok()
    );
    for origin in ["https://evil.example", "null"] {
        let refused = Client::connect(stand.addr, "/ws", &from(origin))
            .await
            .err()
            .unwrap();
        assert_eq!(
            (refused.status, refused.body["code"].as_str().unwrap()),
            (403, "origin_forbidden")
        );
    }
    stand.end().await;
}

#[tokio::test]
async fn a_version_that_is_not_spoken_here_is_closed_with_4504() {
    let stand = Stand::start().await;
    let offered = format!("carillon.v9, bearer.{}", stand.token("acme", "ann"));
    let mut client = Client::connect(stand.addr, "/ws", &[("sec-websocket-protocol", &offered)])
        .await
        .unwrap();
    assert_eq!(client.protocol.as_deref(), Some("carillon.v9"));
    assert_eq!(client.closed().await, 4504);
    stand.end().await;
}

#[tokio::test]
async fn what_is_no_handshake_is_400() {
    let stand = Stand::start().await;
    for (version, key) in [
        ("13", "short"),
        ("13", ""),
        ("13", "\u{7f}"),
        ("8", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        let mut socket = tokio::net::TcpStream::connect(stand.addr).await.unwrap();
        let head = format!(
            "GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\
             sec-websocket-version: {version}\r\nsec-websocket-key: {key}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0u8; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(
            std::str::from_utf8(&answer).unwrap(),
            "HTTP/1.1 400",
            "{version} {key}"
        );
    }
    stand.end().await;
}

#[tokio::test]
async fn too_many_handshakes_are_503_with_retry_after() {
    let stand = Stand::configured(|config| config.handshakes_per_second = NonZeroU32::MIN).await;
    let token = stand.token("acme", "ann");
    let _first = Client::bearer(stand.addr, &token).await.unwrap();
    let refused = Client::bearer(stand.addr, &token).await.err().unwrap();
    assert_eq!(
        (refused.status, refused.body["code"].as_str().unwrap()),
        (503, "overloaded")
    );
    assert!(refused.headers.contains_key("retry-after"));
    stand.end().await;
}

#[tokio::test]
async fn a_tenants_cap_leaves_the_others_alone() {
    let stand = Stand::configured(|config| config.sessions_per_tenant = 2).await;
    let first = stand.client("acme", "ann").await;
    let _second = stand.client("acme", "bob").await;
    let refused = Client::bearer(stand.addr, &stand.token("acme", "cyd"))
        .await
        .err()
        .unwrap();
    assert_eq!(refused.status, 503);
    let _other = stand.client("beta", "ann").await;
    assert_eq!(stand.metric("websocket_active_sessions"), 3.0);
    drop(first);
    stand
        .until("a seat", || stand.metric("carillon_fanout_sessions") < 3.0)
        .await;
    let _third = stand.client("acme", "cyd").await;
    stand.end().await;
}

#[tokio::test]
async fn nobody_is_served_before_the_ends_of_the_shards_are_known() {
    let mut wish = Wish {
        kafka_up: false,
        ..Wish::default()
    };
    wish.config.handshake_timeout = std::time::Duration::from_millis(200);
    let stand = Stand::with(wish).await;
    let refused = Client::bearer(stand.addr, &stand.token("acme", "ann"))
        .await
        .err()
        .unwrap();
    assert_eq!(
        (refused.status, refused.body["code"].as_str().unwrap()),
        (503, "unavailable")
    );
    let unmet = stand.readiness.unmet();
    assert_eq!(unmet[0].0, "deliveries");
    stand.kafka.come().await;
    stand.until("ready", || stand.readiness.unmet().is_empty()).await;
    let mut client = stand.listener("acme", "ann", "alerts").await;
    stand.publish("acme", "alerts", "at last").await;
    assert_eq!(client.content().await, "at last");
    stand.end().await;
}
