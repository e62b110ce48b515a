//! Delivery: by tenant, channel and user.

use carillon_schemas::frame::ServerFrame;
use futures_util::SinkExt;

use crate::support::{Stand, envelope};

#[tokio::test]
async fn a_subscription_holds_from_the_moment_its_frame_was_read() {
    let stand = Stand::start().await;
    for n in 0..20 {
        let mut client = stand.client("acme", "ann").await;
        client
            .say(&format!(r#"{{"type":"subscribe","channel":"c{n}"}}"#))
            .await;
        client.subscribed().await;
        stand.publish("acme", &format!("c{n}"), "hello").await;
        assert_eq!(client.content().await, "hello");
    }
    stand.end().await;
}

#[tokio::test]
async fn two_tenants_on_one_channel_name_never_see_each_other() {
    let stand = Stand::start().await;
    let mut acme = stand.listener("acme", "ann", "alerts").await;
    let mut beta = stand.listener("beta", "ann", "alerts").await;
    for n in 0..50 {
        stand.publish("acme", "alerts", &format!("acme {n}")).await;
        stand.publish("beta", "alerts", &format!("beta {n}")).await;
    }
    stand.until_metric("carillon_fanout_records_total", 100.0).await;
    for (client, tenant) in [(&mut acme, "acme"), (&mut beta, "beta")] {
        for n in 0..50 {
            let notification = client.notification().await;
            let envelope = notification.delivery.envelope;
            assert_eq!(envelope.tenant_id.as_str(), tenant);
            assert_eq!(envelope.content, format!("{tenant} {n}"));
        }
        client.nothing_more().await;
    }
    stand.end().await;
}

#[tokio::test]
async fn what_is_for_a_user_reaches_all_sockets_of_that_user_and_nobody_else() {
    let stand = Stand::start().await;
    let mut sockets = [
        stand.client("acme", "ann").await,
        stand.listener("acme", "ann", "inbox").await,
    ];
    let mut bob = stand.listener("acme", "bob", "inbox").await;
    let mut stranger = stand.listener("beta", "ann", "inbox").await;
    stand.publish_to("acme", "ann", "secret").await;
    stand.until_metric("carillon_fanout_records_total", 1.0).await;
    for socket in &mut sockets {
        let notification = socket.notification().await;
        assert_eq!(notification.stream.to_string(), "user:ann");
        assert_eq!(notification.delivery.envelope.content, "secret");
    }
    bob.nothing_more().await;
    stranger.nothing_more().await;
    stand.end().await;
}

#[tokio::test]
async fn a_frame_may_name_several_channels_and_each_is_answered() {
    let stand = Stand::start().await;
    let mut client = stand.client("acme", "ann").await;
    client
        .say(r#"{"type":"subscribe","tenant_id":"acme","channels":["a","b"],"channel":"c","id":"7"}"#)
        .await;
    for expected in ["channel:c", "channel:a", "channel:b"] {
        let ServerFrame::Subscribed {
            stream,
            channel,
            id,
            recovered,
            ..
        } = client.frame().await
        else {
            panic!("not subscribed")
        };
        assert_eq!(
            (stream.to_string().as_str(), id.as_deref(), recovered),
            (expected, Some("7"), false)
        );
        assert_eq!(format!("channel:{}", channel.unwrap()), expected);
    }
    for channel in ["a", "b", "c"] {
        stand.publish("acme", channel, channel).await;
        assert_eq!(client.content().await, channel);
    }
    stand.end().await;
}

#[tokio::test]
async fn every_frame_carries_the_place_of_the_one_before_in_its_stream() {
    let stand = Stand::start().await;
    let mut client = stand.client("acme", "ann").await;
    client.say(r#"{"type":"subscribe","channel":"a"}"#).await;
    let (_, mut last, _) = client.subscribed().await;
    for n in 0..20 {
        stand.publish("acme", "b", "between").await;
        stand.publish("acme", "a", &n.to_string()).await;
        let notification = client.notification().await;
        assert_eq!(notification.prev, last);
        assert!(notification.cursor > last);
        last = notification.cursor;
    }
    let mut late = stand.client("acme", "bob").await;
    late.say(r#"{"type":"subscribe","channel":"a"}"#).await;
    assert_eq!(late.subscribed().await.1, last);
    stand.end().await;
}

#[tokio::test]
async fn an_unsubscribed_channel_is_quiet() {
    let stand = Stand::start().await;
    let mut client = stand.listener("acme", "ann", "a").await;
    client
        .say(r#"{"type":"unsubscribe","channel":"a","id":"u"}"#)
        .await;
    let ServerFrame::Unsubscribed { channel, id } = client.frame().await else {
        panic!("not unsubscribed")
    };
    assert_eq!((channel.as_str(), id.as_deref()), ("a", Some("u")));
    stand.publish("acme", "a", "nobody hears").await;
    stand.until_metric("carillon_fanout_records_total", 1.0).await;
    client.nothing_more().await;
    stand.end().await;
}

#[tokio::test]
async fn a_record_whose_tenant_is_in_doubt_reaches_nobody() {
    let stand = Stand::start().await;
    let mut acme = stand.listener("acme", "ann", "alerts").await;
    let mut beta = stand.listener("beta", "ann", "alerts").await;
    let envelope = envelope("acme", "alerts", None, "forged");
    stand.send(&envelope, "beta").await;
    let stream = envelope.stream().unwrap();
    stand
        .send_raw(&envelope.tenant_id, &stream, "not json", "acme")
        .await;
    stand.send_raw(&envelope.tenant_id, &stream, "{}", "acme").await;
    stand
        .send_raw(&envelope.tenant_id, &stream, "{}", "No Tenant")
        .await;
    stand.publish("acme", "alerts", "genuine").await;
    assert_eq!(acme.content().await, "genuine");
    beta.nothing_more().await;
    let refused = |reason| {
        stand.metric(&format!(
            "carillon_fanout_records_refused_total{{reason=\"{reason}\"}}"
        ))
    };
    assert_eq!((refused("undecodable"), refused("no_tenant")), (2.0, 1.0));
    stand.end().await;
}

#[tokio::test]
async fn a_reader_that_stops_is_told_what_it_lost_and_disturbs_nobody() {
    let stand = Stand::configured(|config| {
        config.session.queue_frames = 8;
        config.session.ping_every = std::time::Duration::from_secs(300);
    })
    .await;
    let mut slow = stand.listener("acme", "slow", "alerts").await;
    let mut quick = stand.listener("acme", "quick", "alerts").await;
    slow.ws.flush().await.unwrap();
    let (mut sent, big) = (0u64, "x".repeat(30_000));
    // The kernel's buffers take some megabytes before the slow one's queue begins to fill.
    while stand.metric("carillon_fanout_notifications_dropped_total") < 5.0 {
        assert!(sent < 2_000, "nothing was ever dropped");
        for _ in 0..8 {
            stand.publish("acme", "alerts", &format!("{sent} {big}")).await;
            sent += 1;
        }
        for n in sent - 8..sent {
            assert!(
                quick.content().await.starts_with(&format!("{n} ")),
                "the quick one is disturbed"
            );
        }
    }
    let (mut seen, mut dropped, mut last) = (0u64, 0, None);
    while seen + dropped < sent {
        match slow.frame().await {
            ServerFrame::Notification(n) => {
                seen += 1;
                last = Some(n.cursor);
            }
            ServerFrame::Lagged {
                dropped: more,
                cursor,
                ..
            } => {
                assert_eq!(Some(cursor), last);
                dropped += more;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(dropped >= 5);
    stand.publish("acme", "alerts", "live again").await;
    assert_eq!(slow.content().await, "live again");
    stand.end().await;
}
