//! What a client may say, and what it is answered.

use std::time::Duration;

use carillon_schemas::frame::{ErrorCode, ServerFrame};
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Stand};

#[tokio::test]
async fn a_subscribe_for_another_tenant_is_an_error_and_close_4501() {
    let stand = Stand::start().await;
    let mut client = stand.client("acme", "ann").await;
    client
        .say(r#"{"type":"subscribe","tenant_id":"beta","channel":"alerts","id":"x"}"#)
        .await;
    assert_eq!(
        client.error().await,
        (ErrorCode::TenantForbidden, Some("x".to_owned()))
    );
    assert_eq!(client.closed().await, 4501);
    stand.end().await;
}

#[tokio::test]
async fn a_frame_that_is_not_built_yet_is_refused_and_the_session_goes_on() {
    let stand = Stand::start().await;
    let mut client = stand.client("acme", "ann").await;
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    client
        .say(&format!(r#"{{"type":"seen","notification_id":"{id}"}}"#))
        .await;
    assert_eq!(client.error().await.0, ErrorCode::UnsupportedFrame);
    client.nothing_more().await;
    stand.end().await;
}

#[tokio::test]
async fn a_token_reaches_only_the_channels_that_it_names() {
    let stand = Stand::start().await;
    let token = stand.token_with("acme", "ann", |claims| {
        claims.channels = Some(vec!["orders.*".to_owned()])
    });
    let mut client = Client::bearer(stand.addr, &token).await.unwrap();
    client.subscribed().await;
    client
        .say(r#"{"type":"subscribe","channels":["alerts","orders.eu"]}"#)
        .await;
    assert_eq!(client.error().await.0, ErrorCode::ChannelForbidden);
    assert_eq!(client.subscribed().await.0, "channel:orders.eu");
    stand.end().await;
}

#[tokio::test]
async fn a_socket_holds_a_hundred_subscriptions_and_no_more() {
    let stand = Stand::start().await;
    let mut client = stand.client("acme", "ann").await;
    let names: Vec<String> = (0..100).map(|n| format!("\"c{n}\"")).collect();
    client
        .say(&format!(
            r#"{{"type":"subscribe","channels":[{}]}}"#,
            names.join(",")
        ))
        .await;
    for _ in 0..100 {
        client.subscribed().await;
    }
    client.say(r#"{"type":"subscribe","channel":"one-more"}"#).await;
    assert_eq!(client.error().await.0, ErrorCode::TooManySubscriptions);
    client.say(r#"{"type":"subscribe","channel":"c7"}"#).await;
    client.subscribed().await;
    client
        .say(&format!(
            r#"{{"type":"unsubscribe","channels":[{},"x"]}}"#,
            names.join(",")
        ))
        .await;
    assert_eq!(client.error().await.0, ErrorCode::TooManyChannels);
    client.say(r#"{"type":"unsubscribe","channel":"c7"}"#).await;
    assert!(matches!(client.frame().await, ServerFrame::Unsubscribed { .. }));
    client.say(r#"{"type":"subscribe","channel":"one-more"}"#).await;
    client.subscribed().await;
    stand.end().await;
}

#[tokio::test]
async fn a_frame_without_a_channel_or_with_a_foreign_cursor_is_refused() {
    let stand = Stand::start().await;
    let long_id = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(129));
    let long_value = format!(r#"{{"type":"subscribe","last":"{}"}}"#, "x".repeat(9_000));
    let mut client = stand.client("acme", "ann").await;
    for (frame, code) in [
        (r#"{"type":"subscribe"}"#, ErrorCode::NoChannel),
        (r#"{"type":"unsubscribe"}"#, ErrorCode::NoChannel),
        (
            r#"{"type":"unsubscribe","channel":"never"}"#,
            ErrorCode::NoChannel,
        ),
        (
            r#"{"type":"subscribe","channels":["a","b"],"since":"AQAB"}"#,
            ErrorCode::InvalidCursor,
        ),
        (
            r#"{"type":"subscribe","channel":"a","since":{"channel:b":"AQAB"}}"#,
            ErrorCode::InvalidCursor,
        ),
        (
            r#"{"type":"subscribe","channel":"a","since":{"user:bob":"AQAB"}}"#,
            ErrorCode::InvalidCursor,
        ),
        (long_id.as_str(), ErrorCode::Malformed),
        (long_value.as_str(), ErrorCode::Malformed),
    ] {
        client.say(frame).await;
        assert_eq!(client.error().await.0, code, "{frame}");
    }
    stand.end().await;
}

#[tokio::test]
async fn ten_malformed_messages_are_answered_and_the_next_closes_with_4502() {
    let stand = Stand::configured(|config| config.session.inbound_burst = 100).await;
    let mut client = stand.client("acme", "ann").await;
    let bad = [
        "",
        "{",
        "[]",
        r#"{"type":"fly"}"#,
        r#"{"type":"subscribe","channel":"a b"}"#,
    ];
    for text in bad.iter().cycle().take(9) {
        client.say(text).await;
        assert!(matches!(
            client.error().await.0,
            ErrorCode::Malformed | ErrorCode::UnknownType
        ));
    }
    client.ws.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(client.error().await.0, ErrorCode::Malformed);
    client.nothing_more().await;
    client.say("nonsense").await;
    assert_eq!(client.closed().await, 4502);
    stand.end().await;
}

#[tokio::test]
async fn a_burst_of_frames_passes_and_a_flood_closes_with_4005() {
    let stand = Stand::start().await;
    let mut client = stand.client("acme", "ann").await;
    for _ in 0..20 {
        client.say(r#"{"type":"ping"}"#).await;
        assert!(matches!(client.frame().await, ServerFrame::Pong { .. }));
    }
    for _ in 0..20 {
        if client.ws.send(Message::text(r#"{"type":"ping"}"#)).await.is_err() {
            break;
        }
    }
    assert_eq!(client.closed().await, 4005);
    stand.end().await;
}

#[tokio::test]
async fn a_session_ends_with_its_token_unless_a_fresh_one_came() {
    let stand = Stand::start().await;
    let soon = |claims: &mut carillon_schemas::claims::Claims| claims.exp = claims.iat + 2;
    let token = stand.token_with("acme", "ann", soon);
    let mut ends = Client::bearer(stand.addr, &token).await.unwrap();
    let mut goes_on = Client::bearer(stand.addr, &token).await.unwrap();
    ends.subscribed().await;
    goes_on.subscribed().await;
    for (tenant, user) in [("acme", "bob"), ("beta", "ann")] {
        let foreign = stand.token(tenant, user);
        goes_on
            .say(&format!(r#"{{"type":"auth","token":"{foreign}"}}"#))
            .await;
        assert_eq!(goes_on.error().await.0, ErrorCode::BadCredential);
    }
    goes_on.say(r#"{"type":"auth","token":"nonsense"}"#).await;
    assert_eq!(goes_on.error().await.0, ErrorCode::BadCredential);
    let fresh = stand.token("acme", "ann");
    goes_on
        .say(&format!(r#"{{"type":"auth","token":"{fresh}"}}"#))
        .await;
    assert!(matches!(goes_on.frame().await, ServerFrame::Authenticated { .. }));
    assert_eq!(ends.closed().await, 4002);
    assert!(goes_on.is_quiet(Duration::from_millis(100)).await);
    goes_on.nothing_more().await;
    stand.end().await;
}

#[tokio::test]
async fn a_fresh_token_that_reaches_less_ends_what_it_does_not_reach() {
    let stand = Stand::start().await;
    let mut client = stand.listener("acme", "ann", "alerts").await;
    client.say(r#"{"type":"subscribe","channel":"orders.eu"}"#).await;
    client.subscribed().await;
    let narrow = stand.token_with("acme", "ann", |claims| {
        claims.channels = Some(vec!["orders.*".to_owned()])
    });
    client
        .say(&format!(r#"{{"type":"auth","token":"{narrow}"}}"#))
        .await;
    assert!(matches!(client.frame().await, ServerFrame::Authenticated { .. }));
    assert_eq!(client.error().await.0, ErrorCode::ChannelForbidden);
    assert!(matches!(client.frame().await, ServerFrame::Unsubscribed { .. }));
    stand.publish("acme", "alerts", "not any more").await;
    stand.publish("acme", "orders.eu", "still").await;
    assert_eq!(client.content().await, "still");
    stand.end().await;
}
