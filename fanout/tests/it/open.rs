//! Without authentication.

use carillon_schemas::frame::{ErrorCode, ServerFrame};

use crate::support::{Client, Stand, Wish};

async fn open() -> Stand {
    Stand::with(Wish {
        open: true,
        ..Wish::default()
    })
    .await
}

#[tokio::test]
async fn a_socket_that_says_only_tenant_and_channel_gets_the_frames() {
    let stand = open().await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = Client::connect(stand.addr, "/ws", &[]).await.unwrap();
        socket
            .say(r#"{"type":"subscribe","tenant_id":"tenant-a","channel":"alerts"}"#)
            .await;
        assert_eq!(socket.subscribed().await.0, "channel:alerts");
        sockets.push(socket);
    }
    stand.publish("tenant-b", "alerts", "not theirs").await;
    stand.publish("tenant-a", "alerts", "theirs").await;
    for socket in &mut sockets {
        assert_eq!(socket.content().await, "theirs");
    }
    stand.end().await;
}

#[tokio::test]
async fn the_tenant_may_stand_in_the_query_and_the_user_in_the_first_frame() {
    let stand = open().await;
    let mut socket = Client::connect(stand.addr, "/ws?tenant_id=acme", &[])
        .await
        .unwrap();
    socket
        .say(r#"{"type":"subscribe","channel":"alerts","user_id":"ann"}"#)
        .await;
    assert_eq!(socket.subscribed().await.0, "user:ann");
    assert_eq!(socket.subscribed().await.0, "channel:alerts");
    stand.publish_to("acme", "ann", "for ann").await;
    assert_eq!(socket.content().await, "for ann");
    socket
        .say(r#"{"type":"subscribe","channel":"more","user_id":"bob"}"#)
        .await;
    assert_eq!(socket.error().await.0, ErrorCode::Malformed);
    let mut named = Client::connect(stand.addr, "/ws?tenant_id=acme&user_id=ann", &[])
        .await
        .unwrap();
    assert_eq!(named.subscribed().await.0, "user:ann");
    let refused = Client::connect(stand.addr, "/ws?tenant_id=No%20Tenant", &[])
        .await
        .err()
        .unwrap();
    assert_eq!(refused.status, 400);
    stand.end().await;
}

#[tokio::test]
async fn a_socket_may_stay_without_a_tenant_and_tokens_are_ignored() {
    let stand = open().await;
    let mut socket = Client::bearer(stand.addr, "nonsense").await.unwrap();
    socket.nothing_more().await;
    socket.say(r#"{"type":"auth","token":"nonsense"}"#).await;
    assert!(matches!(socket.frame().await, ServerFrame::Authenticated { .. }));
    socket.say(r#"{"type":"subscribe","channel":"alerts"}"#).await;
    assert_eq!(socket.error().await.0, ErrorCode::Malformed);
    socket
        .say(r#"{"type":"subscribe","tenant_id":"acme","channel":"alerts"}"#)
        .await;
    socket.subscribed().await;
    socket
        .say(r#"{"type":"subscribe","tenant_id":"beta","channel":"alerts"}"#)
        .await;
    assert_eq!(socket.error().await.0, ErrorCode::TenantForbidden);
    assert_eq!(socket.closed().await, 4501);
    stand.end().await;
}
