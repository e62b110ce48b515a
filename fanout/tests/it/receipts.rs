//! Receipts: what sockets took and what clients acknowledged, as the router is told.

use std::time::Duration;

use carillon_schemas::{NotificationId, delivery::Repeat, frame::ErrorCode, headers, receipt::Seen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Client, Stand, Wish, cursor, envelope};

fn delivered(sessions: u32) -> Seen {
    Seen::Delivered { sessions }
}

fn ack_of(id: NotificationId) -> String {
    format!(r#"{{"type":"ack","notification_id":"{id}"}}"#)
}

#[tokio::test]
async fn each_session_that_took_a_delivery_counts_once_late_ones_included() {
    let stand = Stand::start().await;
    let mut live = Vec::new();
    for user in ["ann", "bob", "cy"] {
        live.push(stand.listener("acme", user, "alerts").await);
    }
    let mut stranger = stand.listener("beta", "ann", "alerts").await;
    let before = stand.publish("acme", "alerts", "before").await;
    let notification = envelope("acme", "alerts", None, "hello");
    stand.send(&notification, "acme").await;
    for client in &mut live {
        assert_eq!(client.content().await, "before");
        assert_eq!(client.content().await, "hello");
    }
    stranger.nothing_more().await;
    let id = notification.notification_id;
    let receipt = stand.told(id, delivered(3)).await;
    assert_eq!((receipt.delivery, receipt.attempt, receipt.redrive), (1, 1, 0));
    let mut late = stand.client("acme", "dan").await;
    let since = cursor(before);
    late.say(&format!(
        r#"{{"type":"subscribe","channel":"alerts","since":"{since}"}}"#
    ))
    .await;
    late.subscribed().await;
    assert_eq!(late.content().await, "hello");
    let later = stand.told(id, delivered(4)).await;
    assert_eq!(later.at, receipt.at, "the first time stays");
    assert!(stand.receipts().await.iter().all(|(tenant, _)| tenant == "acme"));
    stand.end().await;
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_not_told_until_it_does() {
    let stand = Stand::configured(|config| {
        config.session.queue_frames = 4096;
        config.session.queue_bytes = 64 << 20;
    })
    .await;
    let mut stalled = tokio::net::TcpStream::connect(stand.addr).await.unwrap();
    let head = format!(
        "GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nauthorization: Bearer \
         {}\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        stand.token("acme", "mallory")
    );
    stalled.write_all(head.as_bytes()).await.unwrap();
    // A masked frame, with a mask of zeros.
    let subscribe = br#"{"type":"subscribe","channel":"alerts"}"#;
    stalled
        .write_all(&[0x81, 0x80 | subscribe.len() as u8, 0, 0, 0, 0])
        .await
        .unwrap();
    stalled.write_all(subscribe).await.unwrap();
    let mut answered = Vec::new();
    while !String::from_utf8_lossy(&answered).contains("channel:alerts") {
        let mut byte = [0; 1];
        stalled.read_exact(&mut byte).await.unwrap();
        answered.push(byte[0]);
    }
    // More than the kernel's buffers hold; the last one waits behind all of it.
    let big = "x".repeat(30_000);
    for _ in 0..600 {
        stand.publish("acme", "alerts", &big).await;
    }
    let last = envelope("acme", "alerts", None, "last");
    stand.send(&last, "acme").await;
    stand
        .until_metric("carillon_fanout_notifications_queued_total", 601.0)
        .await;
    let mut other = stand.listener("acme", "ann", "alerts").await;
    let behind = envelope("acme", "alerts", None, "behind");
    stand.send(&behind, "acme").await;
    assert_eq!(other.content().await, "behind");
    stand.told(behind.notification_id, delivered(1)).await;
    let of_last = |receipts: Vec<(String, carillon_schemas::receipt::Receipt)>| {
        let of = |id| receipts.iter().filter(|(_, r)| r.notification_id == id).count();
        (of(last.notification_id), of(behind.notification_id))
    };
    assert_eq!(of_last(stand.receipts().await), (0, 1));
    let reading = async {
        let mut space = vec![0; 1 << 16];
        while stalled.read(&mut space).await.unwrap() > 0 {}
    };
    tokio::select! {
        () = reading => panic!("the socket was closed"),
        _ = stand.told(last.notification_id, delivered(1)) => {}
    }
    stand.end().await;
}

#[tokio::test]
async fn a_receipt_says_which_delivery_it_is_of_and_an_acknowledgement_is_of_the_latest() {
    let stand = Stand::start().await;
    let mut client = stand.listener("acme", "ann", "alerts").await;
    let notification = envelope("acme", "alerts", None, "again");
    let id = notification.notification_id;
    let repeat = Repeat {
        delivery: 4,
        attempt: 3,
        replayed: false,
    };
    let fields = [
        (headers::DELIVERY, "4"),
        (headers::ATTEMPT, "3"),
        (headers::REDRIVE_COUNT, "2"),
    ];
    stand.send_again(&notification, "acme", repeat, &fields).await;
    let frame = client.notification().await;
    assert_eq!((frame.delivery.delivery, frame.delivery.attempt), (4, 3));
    let receipt = stand.told(id, delivered(1)).await;
    assert_eq!((receipt.delivery, receipt.attempt, receipt.redrive), (4, 3, 2));
    client.say(&ack_of(id)).await;
    client.say(&ack_of(id)).await;
    let receipt = stand.told(id, Seen::Acknowledged).await;
    assert_eq!((receipt.delivery, receipt.attempt, receipt.redrive), (4, 3, 2));
    let unknown = envelope("acme", "alerts", None, "elsewhere").notification_id;
    client.say(&ack_of(unknown)).await;
    let receipt = stand.told(unknown, Seen::Acknowledged).await;
    assert_eq!((receipt.delivery, receipt.attempt, receipt.redrive), (1, 1, 0));
    client.nothing_more().await;
    let told = stand.receipts().await;
    let of = told
        .iter()
        .filter(|(_, r)| r.notification_id == id && r.seen == Seen::Acknowledged);
    assert_eq!(of.count(), 1, "told once");
    stand.end().await;
}

#[tokio::test]
async fn an_acknowledgement_counts_for_the_sessions_own_tenant() {
    let stand = Stand::start().await;
    let mut client = stand.client("beta", "ann").await;
    let ids: Vec<String> = (0..3)
        .map(|n| format!("\"{}\"", NotificationId::from_bytes([n; 16])))
        .collect();
    client
        .say(&format!(
            r#"{{"type":"ack","notification_ids":[{}]}}"#,
            ids.join(",")
        ))
        .await;
    stand
        .told(NotificationId::from_bytes([2; 16]), Seen::Acknowledged)
        .await;
    let told = stand.receipts().await;
    assert!(told.len() == 3 && told.iter().all(|(tenant, _)| tenant == "beta"));
    client.say(r#"{"type":"ack"}"#).await;
    assert_eq!(client.error().await.0, ErrorCode::Malformed);
    stand.end().await;
}

/// Posts an acknowledgement; the status, the headers and the body.
async fn post(stand: &Stand, path: &str, token: Option<&str>) -> (u16, String) {
    let mut socket = tokio::net::TcpStream::connect(stand.addr).await.unwrap();
    let token = token.map_or_else(String::new, |t| format!("authorization: Bearer {t}\r\n"));
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{token}x-correlation-id: mine\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(answer.contains("x-correlation-id: mine"), "{answer}");
    (status, answer)
}

#[tokio::test]
async fn an_acknowledgement_over_http_is_of_the_tokens_tenant_and_needs_its_scope() {
    let stand = Stand::start().await;
    let id = NotificationId::from_bytes([7; 16]);
    let path = format!("/v1/notifications/{id}/ack");
    let token = stand.token("acme", "ann");
    let (status, answer) = post(&stand, &path, Some(&token)).await;
    let body = format!(r#"{{"status":"acknowledging","notification_id":"{id}"}}"#);
    assert_eq!(status, 202);
    assert!(answer.ends_with(&body), "{answer}");
    stand.told(id, Seen::Acknowledged).await;
    assert_eq!(stand.receipts().await[0].0, "acme");
    let deaf = stand.token_with("acme", "ann", |claims| claims.scope = Some("publish".to_owned()));
    for (path, token, expected, code) in [
        (path.as_str(), None, 401, "token_missing"),
        (path.as_str(), Some("nonsense"), 401, "token_invalid"),
        (path.as_str(), Some(deaf.as_str()), 403, "scope_missing"),
        (
            "/v1/notifications/7/ack",
            Some(token.as_str()),
            400,
            "invalid_parameter",
        ),
    ] {
        let (status, answer) = post(&stand, path, token).await;
        assert_eq!(status, expected, "{answer}");
        assert!(answer.contains(code), "{answer}");
    }
    stand.end().await;
}

#[tokio::test]
async fn without_authentication_an_acknowledgement_names_its_tenant() {
    let stand = Stand::with(Wish {
        open: true,
        ..Wish::default()
    })
    .await;
    let id = NotificationId::from_bytes([7; 16]);
    let path = format!("/v1/notifications/{id}/ack");
    assert_eq!(post(&stand, &path, None).await.0, 400);
    assert_eq!(post(&stand, &format!("{path}?tenant_id=B!"), None).await.0, 400);
    assert_eq!(post(&stand, &format!("{path}?tenant_id=beta"), None).await.0, 202);
    stand.told(id, Seen::Acknowledged).await;
    assert_eq!(stand.receipts().await[0].0, "beta");
    let mut nobody = Client::connect(stand.addr, "/ws", &[]).await.unwrap();
    nobody.say(&ack_of(id)).await;
    assert_eq!(nobody.error().await.0, ErrorCode::TenantForbidden);
    nobody.nothing_more().await;
    stand.end().await;
}

#[tokio::test]
async fn receipts_outlast_a_broker_that_goes_and_what_finds_no_room_meanwhile_is_counted_or_refused() {
    let stand = Stand::configured(|config| {
        config.receipts.entries = 16;
        config.session.inbound_burst = 100;
    })
    .await;
    let mut client = stand.client("acme", "ann").await;
    stand.kafka.go().await;
    let ids: Vec<NotificationId> = (1..=20).map(|n| NotificationId::from_bytes([n; 16])).collect();
    let mut refused = 0;
    for id in &ids {
        client.say(&ack_of(*id)).await;
        client.say(r#"{"type":"ping"}"#).await;
        while let carillon_schemas::frame::ServerFrame::Error { code, .. } = client.frame().await {
            assert_eq!(code, ErrorCode::Unavailable);
            refused += 1;
        }
    }
    assert!((1..20).contains(&refused), "{refused}");
    stand.kafka.come().await;
    stand.told(ids[0], Seen::Acknowledged).await;
    let lost = "carillon_fanout_receipts_lost_total{seen=\"acknowledged\"}";
    stand.until_metric(lost, f64::from(refused)).await;
    let (told, lost) = (stand.receipts().await.len(), stand.metric(lost));
    assert_eq!(told as f64 + lost, 20.0, "{told} told, {lost} lost");
    stand.end().await;
}

#[tokio::test]
async fn what_the_last_sockets_took_is_told_before_the_node_ends() {
    let stand = Stand::configured(|config| config.receipts.every = Duration::from_secs(60)).await;
    let mut client = stand.listener("acme", "ann", "alerts").await;
    let notification = envelope("acme", "alerts", None, "hello");
    stand.send(&notification, "acme").await;
    assert_eq!(client.content().await, "hello");
    assert!(stand.receipts().await.is_empty());
    stand.shutdown.cancel();
    stand.told(notification.notification_id, delivered(1)).await;
    stand.end().await;
}
