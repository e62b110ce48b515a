//! One key, two ingest processes: one notification.

use carillon_client::{ListenerOptions, Publisher};
use carillon_schemas::IdempotencyKey;
use carillon_testkit::stack::{Lane, Stack};

use crate::walk::{channel, listener, next, server, submission};

carillon_testkit::on_both_lanes!(the_same_key_at_two_ingests_at_once_is_one_notification_and_one_frame);

/// How often it is tried: a race is not lost at every attempt.
const KEYS: usize = 40;

async fn the_same_key_at_two_ingests_at_once_is_one_notification_and_one_frame(lane: Lane) {
    let stack = Stack::builder(lane).ingests(2).start().await;
    let token = stack.token("acme", "u1");
    let mut listener = listener(&stack, &token, ListenerOptions::channels([channel("alerts")])).await;
    let publishers: Vec<_> = stack
        .ingests
        .iter()
        .map(|ingest| Publisher::new(&server(ingest.url(), &token)).unwrap())
        .collect();
    for n in 0..KEYS {
        let key: IdempotencyKey = format!("order-{n}").parse().unwrap();
        let sent = submission("alerts", &n.to_string());
        // Two of each: beside the race of the processes one inside each of them.
        let all = tokio::join!(
            publishers[0].publish(&sent, Some(&key)),
            publishers[1].publish(&sent, Some(&key)),
            publishers[0].publish(&sent, Some(&key)),
            publishers[1].publish(&sent, Some(&key)),
        );
        let all = [all.0.unwrap(), all.1.unwrap(), all.2.unwrap(), all.3.unwrap()];
        let ids: std::collections::BTreeSet<_> = all.iter().map(|a| a.notification_id).collect();
        assert_eq!(ids.len(), 1, "{all:?}");
        let first = all.iter().filter(|a| !a.deduplicated).count();
        assert!(first <= 1, "{all:?}");
    }
    // One frame each: the next one is always of the next key.
    for n in 0..KEYS {
        assert_eq!(next(&mut listener).await.delivery.envelope.content, n.to_string());
    }
    let last = submission("alerts", "last");
    publishers[0].publish(&last, None).await.unwrap();
    assert_eq!(next(&mut listener).await.delivery.envelope.content, "last");
    listener.close().await;
    stack.finish().await;
}
