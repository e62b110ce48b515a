//! What counts no more: expired deliveries, and superseded ones.

use std::sync::atomic::{AtomicU64, Ordering};

use carillon_chassis::clock::Clock;
use carillon_schemas::{
    cursor::Cursor,
    delivery::Repeat,
    envelope::Envelope,
    frame::ServerFrame,
    receipt::{Receipt, Seen},
};

use crate::support::{Client, Stand, cursor, envelope};

/// A notification of `alerts` that expired long ago.
fn expired(content: &str) -> Envelope {
    let mut envelope = envelope("acme", "alerts", None, content);
    envelope.expires_at = Some(1);
    envelope
}

/// A notification of `alerts` with a collapse key, accepted after those that were made before it.
fn keyed(key: &str, content: &str) -> Envelope {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let mut envelope = envelope("acme", "alerts", None, content);
    envelope.accepted_at = MADE.fetch_add(1, Ordering::Relaxed);
    envelope.collapse_key = Some(key.parse().unwrap());
    envelope
}

/// Subscribes `alerts` from now on.
async fn listen(client: &mut Client) -> Cursor {
    client.say(r#"{"type":"subscribe","channel":"alerts"}"#).await;
    client.subscribed().await.1
}

/// Reads until this content; every frame must follow the one before.
async fn read_to(client: &mut Client, base: Cursor, end: &str) -> Vec<String> {
    let (mut last, mut seen) = (base, Vec::new());
    while seen.last().is_none_or(|content| content != end) {
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
    }
    seen
}

async fn ask(client: &mut Client, what: &str) -> Cursor {
    client
        .say(&format!(r#"{{"type":"subscribe","channel":"alerts",{what}}}"#))
        .await;
    client.subscribed().await.1
}

fn of(receipts: Vec<(String, Receipt)>, envelope: &Envelope) -> Vec<Seen> {
    let of = receipts.into_iter().map(|(_, receipt)| receipt);
    of.filter(|r| r.notification_id == envelope.notification_id)
        .map(|r| r.seen)
        .collect()
}

#[tokio::test]
async fn what_has_expired_reaches_nobody_live_and_is_told_once_and_is_no_gap() {
    let stand = Stand::start().await;
    let mut clients = [
        stand.client("acme", "ann").await,
        stand.client("acme", "bob").await,
    ];
    let mut bases = Vec::new();
    for client in &mut clients {
        bases.push(listen(client).await);
    }
    stand.publish("acme", "alerts", "1").await;
    let late = expired("too late");
    stand.send(&late, "acme").await;
    stand.publish("acme", "alerts", "2").await;
    for (client, base) in clients.iter_mut().zip(bases) {
        assert_eq!(read_to(client, base, "2").await, ["1", "2"]);
    }
    stand.told(late.notification_id, Seen::Expired).await;
    let unheard = {
        let mut envelope = expired("nobody listens");
        envelope.channel = "other".parse().unwrap();
        envelope
    };
    stand.send(&unheard, "acme").await;
    let heard = envelope("acme", "alerts", None, "3");
    stand.send(&heard, "acme").await;
    stand
        .told(heard.notification_id, Seen::Delivered { sessions: 2 })
        .await;
    let receipts = stand.receipts().await;
    assert_eq!(of(receipts.clone(), &late), [Seen::Expired]);
    assert_eq!(of(receipts, &unheard), []);
    stand.end().await;
}

#[tokio::test]
async fn what_comes_behind_a_newer_one_of_its_key_reaches_nobody_and_is_no_gap() {
    let stand = Stand::start().await;
    let mut client = stand.client("acme", "ann").await;
    let base = listen(&mut client).await;
    let other = keyed("j", "of another key");
    let old = keyed("k", "old");
    let mut newer = keyed("k", "newer");
    newer.accepted_at = old.accepted_at + 1;
    // The router that sent the old one last was stopped before, and has woken.
    for envelope in [&newer, &old, &other, &newer] {
        stand.send(envelope, "acme").await;
    }
    let again = Repeat {
        replayed: true,
        ..Repeat::FIRST
    };
    stand.send_again(&old, "acme", again, &[]).await;
    stand.publish("acme", "alerts", "end").await;
    let seen = read_to(&mut client, base, "end").await;
    assert_eq!(seen, ["newer", "of another key", "newer", "old", "end"]);
    stand
        .until_metric(
            r#"carillon_fanout_notifications_left_out_total{reason="collapsed"}"#,
            1.0,
        )
        .await;
    stand.end().await;
}

#[tokio::test]
async fn what_has_expired_is_left_out_of_a_catch_up_and_of_the_last_n() {
    let stand = Stand::start().await;
    let base = cursor(stand.publish("acme", "alerts", "0").await);
    for n in 1..=9 {
        let content = n.to_string();
        let envelope = if n % 3 == 0 {
            expired(&content)
        } else {
            envelope("acme", "alerts", None, &content)
        };
        let ack = stand.send(&envelope, "acme").await;
        if n < 7 {
            stand.remember(&envelope, ack).await;
        }
    }
    stand.until_metric("carillon_fanout_records_total", 10.0).await;
    let mut since = stand.client("acme", "ann").await;
    let from = ask(&mut since, &format!(r#""since":"{base}""#)).await;
    let mut last = stand.client("acme", "bob").await;
    let begins = ask(&mut last, r#""last":4"#).await;
    stand.publish("acme", "alerts", "10").await;
    assert_eq!(
        read_to(&mut since, from, "10").await,
        ["1", "2", "4", "5", "7", "8", "10"]
    );
    assert_eq!(read_to(&mut last, begins, "10").await, ["4", "5", "7", "8", "10"]);
    since.nothing_more().await;
    stand.end().await;
}

#[tokio::test]
async fn a_stream_whose_newest_have_all_expired_goes_on_without_a_gap() {
    let stand = Stand::start().await;
    let mut live = stand.listener("acme", "ann", "alerts").await;
    let base = cursor(stand.publish("acme", "alerts", "0").await);
    let soon = {
        let mut envelope = envelope("acme", "alerts", None, "soon gone");
        let now = Clock::system().unix_ms();
        envelope.expires_at = Some(now + 1_500);
        envelope
    };
    stand.send(&soon, "acme").await;
    assert_eq!(live.content().await, "0");
    assert_eq!(live.content().await, "soon gone");
    stand
        .until("expired", || soon.is_expired(Clock::system().unix_ms()))
        .await;
    let mut late = stand.client("acme", "bob").await;
    let from = ask(&mut late, &format!(r#""since":"{base}""#)).await;
    stand.publish("acme", "alerts", "1").await;
    assert_eq!(live.content().await, "1");
    assert_eq!(read_to(&mut late, from, "1").await, ["1"]);
    stand.end().await;
}

#[tokio::test]
async fn those_who_catch_up_get_the_newest_of_each_collapse_key_and_those_who_are_there_get_all() {
    let stand = Stand::start().await;
    let mut live = stand.client("acme", "live").await;
    let begins = listen(&mut live).await;
    let base = cursor(stand.publish("acme", "alerts", "0").await);
    for (key, content) in [("k", "k1"), ("j", "j1"), ("k", "k2")] {
        stand.send(&keyed(key, content), "acme").await;
    }
    stand.publish("acme", "alerts", "1").await;
    stand.send(&keyed("k", "k3"), "acme").await;
    stand.until_metric("carillon_fanout_records_total", 6.0).await;
    let mut since = stand.client("acme", "ann").await;
    let from = ask(&mut since, &format!(r#""since":"{base}""#)).await;
    let mut last = stand.client("acme", "bob").await;
    let last_from = ask(&mut last, r#""last":10"#).await;
    stand.publish("acme", "alerts", "end").await;
    let all = ["0", "k1", "j1", "k2", "1", "k3", "end"];
    assert_eq!(read_to(&mut live, begins, "end").await, all);
    assert_eq!(read_to(&mut since, from, "end").await, ["j1", "1", "k3", "end"]);
    assert_eq!(
        read_to(&mut last, last_from, "end").await,
        ["0", "j1", "1", "k3", "end"]
    );
    stand.end().await;
}

#[tokio::test]
async fn one_that_the_store_knows_a_newer_one_of_is_left_out_although_nothing_newer_is_at_hand() {
    let stand = Stand::start().await;
    let base = cursor(stand.publish("acme", "alerts", "0").await);
    let old = keyed("k", "old");
    let ack = stand.send(&old, "acme").await;
    stand.remember(&old, ack).await;
    let alone = keyed("j", "alone");
    let ack = stand.send(&alone, "acme").await;
    stand.remember(&alone, ack).await;
    let mut newer = keyed("k", "newer");
    newer.accepted_at = old.accepted_at + 1;
    stand.accept(&newer).await;
    stand.until_metric("carillon_fanout_records_total", 3.0).await;
    let mut since = stand.client("acme", "ann").await;
    let from = ask(&mut since, &format!(r#""since":"{base}""#)).await;
    let mut last = stand.client("acme", "bob").await;
    let last_from = ask(&mut last, r#""last":10"#).await;
    stand.send(&newer, "acme").await;
    assert_eq!(read_to(&mut since, from, "newer").await, ["alone", "newer"]);
    assert_eq!(
        read_to(&mut last, last_from, "newer").await,
        ["0", "alone", "newer"]
    );
    stand.end().await;
}
