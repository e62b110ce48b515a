//! Coming back: `since` and `last`, and the seam to live.

use carillon_schemas::{cursor::Cursor, frame::ServerFrame};
use futures_util::future::join_all;

use crate::support::{Client, Stand, cursor, envelope};

/// Reads on until this content was seen; every frame must follow the one before, and none come twice.
async fn read_to(client: &mut Client, base: Cursor, end: &str) -> Vec<String> {
    let (mut last, mut seen) = (base, Vec::new());
    loop {
        match client.frame().await {
            ServerFrame::Notification(n) => {
                assert_eq!(n.prev, last, "a gap before {:?}", n.delivery.envelope.content);
                last = n.cursor;
                seen.push(n.delivery.envelope.content);
            }
            ServerFrame::Skipped { cursor, prev, .. } => {
                assert_eq!(prev, last);
                last = cursor;
            }
            other => panic!("{other:?}"),
        }
        if seen.last().is_some_and(|content| content == end) {
            return seen;
        }
    }
}

#[tokio::test]
async fn everything_since_a_cursor_comes_once_and_in_order_and_then_live() {
    let stand = Stand::start().await;
    let mut first = stand.listener("acme", "ann", "alerts").await;
    let mut acks = Vec::new();
    for n in 0..50 {
        acks.push(stand.publish("acme", "alerts", &n.to_string()).await);
        stand.publish("acme", "other", "between").await;
        stand.publish("beta", "alerts", "foreign").await;
    }
    for n in 0..10 {
        assert_eq!(first.content().await, n.to_string());
    }
    drop(first);
    let since = cursor(acks[9]);
    let mut again = stand.client("acme", "ann").await;
    again
        .say(&format!(
            r#"{{"type":"subscribe","channel":"alerts","since":"{since}"}}"#
        ))
        .await;
    let (stream, base, recovered) = again.subscribed().await;
    assert_eq!(
        (stream.as_str(), base, recovered),
        ("channel:alerts", since, true)
    );
    stand.publish("acme", "alerts", "50").await;
    let seen = read_to(&mut again, base, "50").await;
    assert_eq!(seen, (10..=50).map(|n| n.to_string()).collect::<Vec<_>>());
    stand.end().await;
}

#[tokio::test]
async fn a_resume_in_the_middle_of_a_stream_that_goes_on_has_no_seam() {
    let stand = Stand::configured(|config| {
        config.session.pending_frames = 2;
        config.resume_page_bytes = 2_000;
    })
    .await;
    let since = cursor(stand.publish("acme", "alerts", "0").await);
    let publishing = async {
        for n in 1..=600 {
            stand.publish("acme", "alerts", &n.to_string()).await;
        }
    };
    let listening = (0..5).map(async |user| {
        let mut client = stand.client("acme", &format!("u{user}")).await;
        let subscribe = format!(r#"{{"type":"subscribe","channel":"alerts","since":"{since}"}}"#);
        client.say(&subscribe).await;
        assert!(client.subscribed().await.2);
        let seen = read_to(&mut client, since, "600").await;
        assert_eq!(seen, (1..=600).map(|n| n.to_string()).collect::<Vec<_>>());
    });
    tokio::join!(publishing, join_all(listening));
    let recovered = "carillon_fanout_catch_ups_total{outcome=\"recovered\"}";
    stand.until_metric(recovered, 5.0).await;
    stand.end().await;
}

#[tokio::test]
async fn several_streams_resume_each_from_its_own_place() {
    let stand = Stand::start().await;
    let a = stand.publish("acme", "a", "a0").await;
    let b = stand.publish("acme", "b", "b0").await;
    let user = stand.publish_to("acme", "ann", "u0").await;
    for content in ["a1", "a2"] {
        stand.publish("acme", "a", content).await;
    }
    stand.publish("acme", "b", "b1").await;
    stand.publish_to("acme", "ann", "u1").await;
    stand.until_metric("carillon_fanout_records_total", 7.0).await;
    let mut client = stand.client("acme", "ann").await;
    let since = format!(
        r#"{{"channel:a":"{}","channel:b":"{}","user:ann":"{}"}}"#,
        cursor(a),
        cursor(b),
        cursor(user)
    );
    client
        .say(&format!(
            r#"{{"type":"subscribe","channels":["a","b","c"],"since":{since}}}"#
        ))
        .await;
    let mut seen = std::collections::BTreeMap::<String, Vec<String>>::new();
    let mut subscribed = 0;
    while subscribed < 4 || seen.values().map(Vec::len).sum::<usize>() < 4 {
        match client.frame().await {
            ServerFrame::Subscribed { .. } => subscribed += 1,
            ServerFrame::Skipped { .. } => {}
            ServerFrame::Notification(n) => {
                seen.entry(n.stream.to_string())
                    .or_default()
                    .push(n.delivery.envelope.content);
            }
            other => panic!("{other:?}"),
        }
    }
    let seen: Vec<String> = seen.into_values().flatten().collect();
    assert_eq!(seen, ["a1", "a2", "b1", "u1"]);
    client.nothing_more().await;
    stand.end().await;
}

#[tokio::test]
async fn a_subscribed_channel_can_be_begun_anew_from_an_older_cursor() {
    let stand = Stand::start().await;
    let mut client = stand.listener("acme", "ann", "alerts").await;
    let first = stand.publish("acme", "alerts", "0").await;
    stand.publish("acme", "alerts", "1").await;
    assert_eq!(
        (client.content().await, client.content().await),
        ("0".to_owned(), "1".to_owned())
    );
    let since = cursor(first);
    client
        .say(&format!(
            r#"{{"type":"subscribe","channel":"alerts","since":"{since}"}}"#
        ))
        .await;
    assert_eq!(client.subscribed().await.1, since);
    assert_eq!(client.content().await, "1");
    stand.publish("acme", "alerts", "2").await;
    assert_eq!(client.content().await, "2");
    client.nothing_more().await;
    stand.end().await;
}

#[tokio::test]
async fn a_cursor_that_is_no_place_here_is_told_and_a_snapshot_follows() {
    let stand = Stand::configured(|config| {
        config.resume_deadline = std::time::Duration::from_millis(300);
    })
    .await;
    let ack = stand.publish("acme", "alerts", "only one").await;
    stand.until_metric("carillon_fanout_records_total", 1.0).await;
    let here = cursor(ack);
    let ahead = Cursor {
        offset: here.offset + 1_000,
        ..here
    };
    let generation = Cursor {
        generation: 9,
        ..here
    };
    let shard = Cursor {
        shard: (here.shard + 1) % 3,
        ..here
    };
    for (n, asked) in [ahead, generation, shard].into_iter().enumerate() {
        let mut client = stand.client("acme", &format!("u{n}")).await;
        client
            .say(&format!(
                r#"{{"type":"subscribe","channel":"alerts","since":"{asked}"}}"#
            ))
            .await;
        let ServerFrame::Unrecovered { stream, from } = client.frame().await else {
            panic!("not told")
        };
        assert_eq!((stream.to_string().as_str(), from), ("channel:alerts", asked));
        let (_, base, recovered) = client.subscribed().await;
        assert!(!recovered);
        assert_eq!(read_to(&mut client, base, "only one").await, ["only one"]);
        stand.publish("acme", "alerts", &format!("live {n}")).await;
        while client.content().await != format!("live {n}") {}
    }
    stand.end().await;
}

#[tokio::test]
async fn a_cursor_that_lies_ahead_for_a_moment_is_waited_for() {
    let stand = Stand::start().await;
    let ack = stand.publish("acme", "alerts", "0").await;
    stand.until_metric("carillon_fanout_records_total", 1.0).await;
    let next = Cursor {
        offset: ack.offset + 1,
        ..cursor(ack)
    };
    let mut client = stand.client("acme", "ann").await;
    client
        .say(&format!(
            r#"{{"type":"subscribe","channel":"alerts","since":"{next}"}}"#
        ))
        .await;
    client.nothing_more().await;
    stand.publish("acme", "alerts", "1").await;
    stand.publish("acme", "alerts", "2").await;
    assert_eq!(client.subscribed().await.1, next);
    assert_eq!(client.content().await, "2");
    client.nothing_more().await;
    stand.end().await;
}

#[tokio::test]
async fn the_last_n_come_oldest_first_also_when_the_store_is_behind() {
    let stand = Stand::start().await;
    for n in 0..8 {
        let envelope = envelope("acme", "alerts", None, &n.to_string());
        let ack = stand.send(&envelope, "acme").await;
        if n < 5 {
            stand.remember(&envelope, ack).await;
        }
        stand.publish("acme", "other", "between").await;
    }
    stand.until_metric("carillon_fanout_records_total", 16.0).await;
    for n in [3usize, 5, 100] {
        let mut client = stand.client("acme", &format!("u{n}")).await;
        client
            .say(&format!(
                r#"{{"type":"subscribe","channel":"alerts","last":{n}}}"#
            ))
            .await;
        let (_, base, recovered) = client.subscribed().await;
        assert!(!recovered);
        let expected: Vec<String> = (8usize.saturating_sub(n)..8).map(|n| n.to_string()).collect();
        assert_eq!(read_to(&mut client, base, "7").await, expected);
        client.nothing_more().await;
    }
    stand.end().await;
}

#[tokio::test]
async fn the_last_n_of_a_quiet_channel_are_none_and_live_follows() {
    let stand = Stand::start().await;
    let mut client = stand.client("acme", "ann").await;
    client
        .say(r#"{"type":"subscribe","channel":"alerts","last":5}"#)
        .await;
    let (_, base, _) = client.subscribed().await;
    stand.publish("acme", "alerts", "first").await;
    assert_eq!(read_to(&mut client, base, "first").await, ["first"]);
    stand.end().await;
}

#[tokio::test]
async fn a_herd_with_one_cursor_shares_its_reads() {
    let stand = Stand::configured(|config| config.resume_concurrency = 1_000).await;
    let start = stand.publish("acme", "alerts", "0").await;
    for n in 1..=40 {
        stand.publish("acme", "alerts", &n.to_string()).await;
    }
    stand.until_metric("carillon_fanout_records_total", 41.0).await;
    let since = cursor(start);
    let mut herd = Vec::new();
    for n in 0..60 {
        herd.push(stand.client("acme", &format!("u{n}")).await);
    }
    for client in &mut herd {
        client
            .say(&format!(
                r#"{{"type":"subscribe","channel":"alerts","since":"{since}"}}"#
            ))
            .await;
    }
    for client in &mut herd {
        let (_, base, _) = client.subscribed().await;
        assert_eq!(read_to(client, base, "40").await.len(), 40);
    }
    let reads = stand.metric("carillon_fanout_range_reads_total");
    assert!(reads < 60.0, "{reads} reads for 60 clients");
    stand.end().await;
}

#[tokio::test]
async fn a_slow_client_catches_up_at_its_own_pace() {
    let stand = Stand::configured(|config| {
        config.session.queue_frames = 4;
        config.resume_page_bytes = 100_000;
    })
    .await;
    let start = stand.publish("acme", "alerts", "0").await;
    let big = "x".repeat(20_000);
    for n in 1..200 {
        stand.publish("acme", "alerts", &format!("{n} {big}")).await;
    }
    stand.publish("acme", "alerts", "end").await;
    let mut client = stand.client("acme", "ann").await;
    let since = cursor(start);
    client
        .say(&format!(
            r#"{{"type":"subscribe","channel":"alerts","since":"{since}"}}"#
        ))
        .await;
    let (_, base, _) = client.subscribed().await;
    assert_eq!(read_to(&mut client, base, "end").await.len(), 200);
    assert_eq!(stand.metric("carillon_fanout_notifications_dropped_total"), 0.0);
    stand.end().await;
}

#[tokio::test]
async fn a_session_that_asks_for_the_past_again_and_again_is_refused_and_served() {
    let stand = Stand::configured(|config| config.session.inbound_burst = 100).await;
    let ack = stand.publish("acme", "alerts", "0").await;
    let ahead = Cursor {
        offset: ack.offset + 1_000,
        ..cursor(ack)
    };
    let mut client = stand.client("acme", "ann").await;
    for _ in 0..17 {
        client
            .say(&format!(
                r#"{{"type":"subscribe","channel":"alerts","since":"{ahead}"}}"#
            ))
            .await;
    }
    assert_eq!(
        client.error().await.0,
        carillon_schemas::frame::ErrorCode::Unavailable
    );
    client.say(r#"{"type":"subscribe","channel":"alerts"}"#).await;
    client.subscribed().await;
    stand.publish("acme", "alerts", "live").await;
    while client.content().await != "live" {}
    stand.end().await;
}

#[tokio::test]
async fn sessions_outlast_a_broker_that_goes_and_comes_back() {
    let stand = Stand::start().await;
    let mut live = stand.listener("acme", "ann", "alerts").await;
    let first = stand.publish("acme", "alerts", "before").await;
    assert_eq!(live.content().await, "before");
    stand.kafka.go().await;
    let mut resuming = stand.client("acme", "bob").await;
    let since = Cursor {
        offset: first.offset - 1,
        ..cursor(first)
    };
    resuming
        .say(&format!(
            r#"{{"type":"subscribe","channel":"alerts","since":"{since}"}}"#
        ))
        .await;
    stand
        .until("said", || {
            stand
                .readiness
                .unmet()
                .iter()
                .any(|(name, _)| *name == "deliveries")
        })
        .await;
    resuming.nothing_more().await;
    stand.kafka.come().await;
    stand.until("ready", || stand.readiness.unmet().is_empty()).await;
    stand.publish("acme", "alerts", "after").await;
    assert_eq!(live.content().await, "after");
    assert_eq!(resuming.subscribed().await.1, since);
    assert_eq!(read_to(&mut resuming, since, "after").await, ["before", "after"]);
    stand.end().await;
}
