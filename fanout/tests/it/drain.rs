//! Going away.

use crate::support::{Client, Stand};

#[tokio::test]
async fn a_node_that_goes_says_4000_to_everybody_and_leaves_nothing_behind() {
    let stand = Stand::start().await;
    let mut clients = Vec::new();
    for n in 0..10 {
        clients.push(stand.listener("acme", &format!("u{n}"), "alerts").await);
    }
    stand.publish("acme", "alerts", "last words").await;
    stand
        .until_metric("carillon_fanout_notifications_queued_total", 10.0)
        .await;
    stand.shutdown.cancel();
    for client in &mut clients {
        assert_eq!(client.content().await, "last words");
        assert_eq!(client.closed().await, 4000);
    }
    stand
        .until("everybody gone", || {
            stand.metric("carillon_fanout_sessions") == 0.0
        })
        .await;
    let refused = Client::bearer(stand.addr, &stand.token("acme", "late"))
        .await
        .err()
        .unwrap();
    assert_eq!(refused.status, 503);
    stand.end().await;
}

#[tokio::test]
async fn a_peer_that_neither_reads_nor_answers_does_not_hold_the_drain() {
    let stand = Stand::configured(|config| {
        config.session.close_timeout = std::time::Duration::from_millis(300);
    })
    .await;
    let stuck = stand.listener("acme", "ann", "alerts").await;
    stand.shutdown.cancel();
    stand
        .until("gone", || stand.metric("carillon_fanout_sessions") == 0.0)
        .await;
    drop(stuck);
    stand.end().await;
}
