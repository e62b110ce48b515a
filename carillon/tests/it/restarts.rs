//! Roles that come and go while publishing goes on: nothing lost, nothing twice, nothing out of order.

use std::{sync::Arc, time::Duration};

use carillon_testkit::{
    eventually::eventually,
    journal::{Journal, Place},
    load::{KeepingListener, NumberedPublisher},
    stack::Stack,
};
use parking_lot::Mutex;

fn places(tenant: &str) -> Vec<Place> {
    ["alerts", "orders"]
        .iter()
        .map(|c| (tenant.parse().unwrap(), c.parse().unwrap()))
        .collect()
}

async fn accepted(journal: &Mutex<Journal>, at_least: usize) {
    eventually(
        "accepted",
        || async { journal.lock().ids().count() },
        |n| *n >= at_least,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_that_come_and_go_lose_and_double_nothing() {
    let mut stack = Stack::builder().ingests(2).routers(2).start().await;
    let journal = Arc::new(Mutex::new(Journal::default()));
    let token = stack.token("acme", "u1");
    let places = places("acme");
    let listener = KeepingListener::start(stack.fanouts[0].url(), &token, &places).await;
    let publishers: Vec<_> = places
        .iter()
        .zip(&stack.ingests)
        .map(|(place, ingest)| {
            let pause = Duration::from_millis(1);
            NumberedPublisher::start(ingest.url(), &token, place.clone(), Arc::clone(&journal), pause)
        })
        .collect();
    accepted(&journal, 100).await;
    stack.routers.remove(0).stop().await;
    accepted(&journal, 300).await;
    stack.start_router();
    accepted(&journal, 600).await;
    stack.routers.remove(0).stop().await;
    accepted(&journal, 800).await;
    for publisher in publishers {
        publisher.stop().await;
    }
    let received = listener.drain(&journal, &places).await;
    let figures = journal.lock().check(&places, &received);
    assert!(figures.clean() && figures.accepted >= 800, "{figures:?}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_moves_to_another_fanout_from_its_cursors() {
    use carillon_client::{Listener, ListenerOptions, Publisher};

    use crate::walk::{channel, listener, next, server, submission};

    let mut stack = Stack::builder().fanouts(1).start().await;
    let token = stack.token("acme", "u1");
    let publisher = Publisher::new(&server(stack.ingests[0].url(), &token)).unwrap();
    let mut first = listener(&stack, &token, ListenerOptions::channels([channel("alerts")])).await;
    publisher.publish(&submission("alerts", "1"), None).await.unwrap();
    assert_eq!(next(&mut first).await.delivery.envelope.content, "1");
    let since = first.cursors();
    first.close().await;
    stack.fanouts.remove(0).stop().await;
    for n in 2..=5 {
        publisher
            .publish(&submission("alerts", &n.to_string()), None)
            .await
            .unwrap();
    }
    stack.start_fanout().await;
    let options = ListenerOptions {
        since,
        ..ListenerOptions::channels([channel("alerts")])
    };
    let mut second = Listener::connect(&server(stack.fanouts[0].url(), &token), options)
        .await
        .unwrap();
    publisher.publish(&submission("alerts", "6"), None).await.unwrap();
    for n in 2..=6 {
        assert_eq!(next(&mut second).await.delivery.envelope.content, n.to_string());
    }
    stack.finish().await;
}
