//! Listening: connections that end, and streams that go on.

use std::{collections::BTreeMap, future::Future, time::Duration};

use carillon_client::{ClientError, Event, Listener, ListenerOptions};
use carillon_schemas::frame::{ClientFrame, Since, Subscribe};

use crate::script::{Server, Socket, at, uuid};

fn options() -> ListenerOptions {
    ListenerOptions::channels(["a".parse().unwrap()])
}

/// Runs both to their end, which comes soon.
fn play<'a>(
    script: impl Future<Output = ()> + 'a,
    client: impl Future<Output = ()> + 'a,
) -> impl Future<Output = ()> + 'a {
    let both = Box::pin(async { tokio::join!(script, client) });
    async {
        let played = tokio::time::timeout(Duration::from_secs(20), both).await;
        played.expect("the script ends");
    }
}

async fn subscribe(socket: &mut Socket) -> Subscribe {
    match socket.hear().await {
        Some(ClientFrame::Subscribe(subscribe)) => subscribe,
        other => panic!("{other:?}"),
    }
}

/// The next notification's content, passing over everything else.
async fn content(listener: &mut Listener) -> String {
    loop {
        if let Event::Notification(frame) = listener.next().await.unwrap() {
            return frame.delivery.envelope.content;
        }
    }
}

#[tokio::test]
async fn a_connection_that_ends_is_made_again_and_every_stream_goes_on_where_it_was() {
    let (server, connection) = Server::start().await;
    let script = async {
        let mut socket = server.socket().await;
        let asked = subscribe(&mut socket).await;
        assert_eq!((asked.since, asked.last), (None, None));
        socket.subscribed(6, asked.id).await;
        socket.notify(7).await;
        socket.close(4000).await;
        // Sent again by the server: it was under way when the connection ended.
        let mut socket = server.socket().await;
        let asked = subscribe(&mut socket).await;
        assert_eq!(
            asked.since,
            Some(Since::Many(BTreeMap::from([(
                "channel:a".parse().unwrap(),
                at(7)
            )])))
        );
        socket.subscribed(6, asked.id).await;
        socket.notify(7).await;
        socket.notify(8).await;
        assert_eq!(socket.hear().await, None, "the client says goodbye");
    };
    let client = async {
        let mut listener = Listener::connect(&connection, options()).await.unwrap();
        listener.subscribed().await.unwrap();
        assert_eq!(content(&mut listener).await, "7");
        let Event::Disconnected {
            code: Some(4000),
            retry_in,
            ..
        } = listener.next().await.unwrap()
        else {
            panic!("no news of the disconnect")
        };
        assert!(retry_in <= Duration::from_millis(500));
        assert_eq!(
            content(&mut listener).await,
            "8",
            "7 came twice and is handed out once"
        );
        assert_eq!(listener.cursors().values().next(), Some(&at(8)));
        listener.close().await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn a_gap_is_filled_before_anything_behind_it_is_handed_out() {
    let (server, connection) = Server::start().await;
    let script = async {
        let mut socket = server.socket().await;
        let asked = subscribe(&mut socket).await;
        socket.subscribed(0, asked.id).await;
        socket.notify(1).await;
        socket.notify(4).await;
        let asked = subscribe(&mut socket).await;
        socket.notify(5).await;
        socket.subscribed(1, asked.id).await;
        for offset in 2..=5 {
            socket.notify(offset).await;
        }
        socket.hear().await;
    };
    let client = async {
        let mut listener = Listener::connect(&connection, options()).await.unwrap();
        for expected in ["1", "2", "3", "4", "5"] {
            assert_eq!(content(&mut listener).await, expected);
        }
        listener.close().await;
    };
    play(script, client).await;
}

async fn acknowledged(socket: &mut Socket) -> Vec<String> {
    match socket.hear().await {
        Some(ClientFrame::Ack(acknowledge)) => acknowledge.all().map(|id| id.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_the_caller_acknowledges_is_told_over_the_next_connection_if_need_be() {
    let (server, connection) = Server::start().await;
    let script = async {
        let mut socket = server.socket().await;
        let asked = subscribe(&mut socket).await;
        socket.subscribed(0, asked.id).await;
        socket.notify(1).await;
        socket.notify(2).await;
        socket.close(4000).await;
        let mut socket = server.socket().await;
        let asked = subscribe(&mut socket).await;
        socket.subscribed(2, asked.id).await;
        assert_eq!(acknowledged(&mut socket).await, [uuid(2), uuid(1)]);
        assert_eq!(socket.hear().await, None);
    };
    let client = async {
        let mut listener = Listener::connect(&connection, options()).await.unwrap();
        while content(&mut listener).await != "2" {}
        while !matches!(listener.next().await.unwrap(), Event::Disconnected { .. }) {}
        listener.ack(uuid(2).parse().unwrap());
        listener.ack(uuid(1).parse().unwrap());
        while !matches!(listener.next().await.unwrap(), Event::Subscribed { .. }) {}
        listener.close().await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn a_notification_is_acknowledged_by_itself_when_the_caller_comes_back_for_the_next() {
    let options = ListenerOptions {
        auto_ack: true,
        ..options()
    };
    let (server, connection) = Server::start().await;
    let script = async {
        let mut socket = server.socket().await;
        let asked = subscribe(&mut socket).await;
        socket.subscribed(0, asked.id).await;
        socket.notify(1).await;
        assert_eq!(acknowledged(&mut socket).await, [uuid(1)]);
        socket.notify(2).await;
        assert_eq!(acknowledged(&mut socket).await, [uuid(2)], "by the goodbye");
        assert_eq!(socket.hear().await, None);
    };
    let client = async {
        let mut listener = Listener::connect(&connection, options).await.unwrap();
        assert_eq!(content(&mut listener).await, "1");
        assert_eq!(content(&mut listener).await, "2");
        listener.close().await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn a_deliberate_repeat_is_handed_out_with_what_it_says_of_itself() {
    let (server, connection) = Server::start().await;
    let script = async {
        let mut socket = server.socket().await;
        let asked = subscribe(&mut socket).await;
        socket.subscribed(0, asked.id).await;
        let id = uuid(1);
        for (offset, says) in [
            (1, r#""delivery":1"#),
            (2, r#""delivery":1"#),
            (3, r#""delivery":2,"attempt":2,"replayed":true"#),
        ] {
            let (cursor, prev) = (at(offset), at(offset - 1));
            socket
                .say(&format!(
                    r#"{{"type":"notification","stream":"channel:a","cursor":"{cursor}","prev":"{prev}",{says},"notification_id":"{id}","tenant_id":"t","channel":"a","correlation_id":"c","accepted_at":1,"content":"x"}}"#
                ))
                .await;
        }
        assert_eq!(socket.hear().await, None);
    };
    let client = async {
        let mut listener = Listener::connect(&connection, options()).await.unwrap();
        let mut said = Vec::new();
        while said.len() < 2 {
            if let Event::Notification(frame) = listener.next().await.unwrap() {
                let delivery = frame.delivery;
                said.push((delivery.delivery, delivery.attempt, delivery.replayed));
            }
        }
        assert_eq!(said, [(1, 1, false), (2, 2, true)]);
        listener.close().await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn a_close_code_of_4500_or_more_ends_the_listening() {
    let (server, connection) = Server::start().await;
    let script = async {
        let mut socket = server.socket().await;
        subscribe(&mut socket).await;
        socket
            .say(r#"{"type":"error","code":"tenant_forbidden","detail":"no","id":"1"}"#)
            .await;
        socket.close(4501).await;
    };
    let client = async {
        let mut listener = Listener::connect(&connection, options()).await.unwrap();
        assert!(matches!(listener.next().await, Ok(Event::Refused { .. })));
        match listener.next().await {
            Err(ClientError::Closed { code: 4501, reason }) => assert_eq!(reason, "as scripted"),
            other => panic!("{other:?}"),
        }
    };
    play(script, client).await;
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left() {
    let options = ListenerOptions {
        heartbeat: Duration::from_millis(100),
        ..options()
    };
    let (server, connection) = Server::start().await;
    let script = async {
        let mut silent = server.socket().await;
        let asked = subscribe(&mut silent).await;
        silent.subscribed(0, asked.id).await;
        let mut socket = server.socket().await;
        let asked = subscribe(&mut socket).await;
        socket.subscribed(0, asked.id).await;
        socket.notify(1).await;
        socket.hear().await;
    };
    let client = async {
        let mut listener = Listener::connect(&connection, options).await.unwrap();
        assert_eq!(content(&mut listener).await, "1");
        listener.close().await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn a_subscription_that_is_never_answered_is_asked_for_on_another_connection() {
    let options = ListenerOptions {
        answer_within: Duration::from_millis(100),
        ..options()
    };
    let (server, connection) = Server::start().await;
    let script = async {
        let mut deaf = server.socket().await;
        subscribe(&mut deaf).await;
        deaf.say(r#"{"type":"pong"}"#).await;
        let mut socket = server.socket().await;
        let asked = subscribe(&mut socket).await;
        socket.subscribed(0, asked.id).await;
        socket.hear().await;
    };
    let client = async {
        let mut listener = Listener::connect(&connection, options).await.unwrap();
        listener.subscribed().await.unwrap();
        listener.close().await;
    };
    play(script, client).await;
}

#[tokio::test]
async fn a_refused_handshake_says_why_and_never_shows_the_token() {
    let problem = r#"{"type":"urn:carillon:problem:token_expired","title":"x","status":401,"code":"token_expired","detail":"the token has expired","correlation_id":null}"#;
    let (server, connection) = Server::start().await;
    let (asked, refused) = tokio::join!(
        server.answer("401 Unauthorized", "", problem),
        Listener::connect(&connection, options())
    );
    assert!(
        asked.to_lowercase().contains("authorization: bearer canary"),
        "{asked}"
    );
    let error = refused.unwrap_err();
    assert!(!error.is_temporary());
    let text = format!("{error} {error:?}");
    assert!(
        text.contains("token_expired") && !text.contains("canary"),
        "{text}"
    );
}
