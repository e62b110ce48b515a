//! Coming back: by cursor across fanouts, by `last`, and from where nothing is known.

use carillon_client::{Event, Listener, ListenerOptions, Publisher};
use carillon_fixtures::PATIENCE;
use carillon_testkit::stack::{Lane, Stack};

use crate::walk::{channel, next, server, submission};

carillon_testkit::on_both_lanes!(
    a_listener_that_drops_comes_back_on_any_fanout_and_misses_nothing,
    a_listener_moves_to_another_fanout_from_its_cursors,
    a_place_that_nobody_knows_is_told_as_unrecovered_and_the_stream_goes_on,
);

fn alerts() -> ListenerOptions {
    ListenerOptions::channels([channel("alerts")])
}

async fn publish(publisher: &Publisher, numbers: std::ops::RangeInclusive<u32>) {
    for n in numbers {
        let sent = submission("alerts", &n.to_string());
        publisher.publish(&sent, None).await.unwrap();
    }
}

async fn expect(listener: &mut Listener, numbers: std::ops::RangeInclusive<u32>) {
    for n in numbers {
        assert_eq!(next(listener).await.delivery.envelope.content, n.to_string());
    }
}

async fn a_listener_that_drops_comes_back_on_any_fanout_and_misses_nothing(lane: Lane) {
    let stack = Stack::builder(lane).fanouts(2).start().await;
    let token = stack.token("acme", "u1");
    let publisher = Publisher::new(&server(stack.ingests[0].url(), &token)).unwrap();
    let mut options = alerts();
    let mut sent = 0;
    // Over and back: each node knows what came while the listener was at the other one, or at none.
    for fanout in [0, 1, 0, 1] {
        let server = server(stack.fanouts[fanout].url(), &token);
        let mut listener = Listener::connect(&server, options.clone()).await.unwrap();
        listener.subscribed().await.unwrap();
        // What was sent into the pause comes first, then what comes now.
        if sent > 0 {
            expect(&mut listener, sent - 4..=sent).await;
        }
        publish(&publisher, sent + 1..=sent + 5).await;
        expect(&mut listener, sent + 1..=sent + 5).await;
        options.since = listener.cursors();
        drop(listener);
        publish(&publisher, sent + 6..=sent + 10).await;
        sent += 10;
    }
    let first = server(stack.fanouts[0].url(), &token);
    let mut listener = Listener::connect(&first, options).await.unwrap();
    expect(&mut listener, sent - 4..=sent).await;
    // Whatever was pushed is in the store: a newcomer finds it there.
    let options = ListenerOptions {
        last: Some(3),
        ..alerts()
    };
    let other = server(stack.fanouts[1].url(), &token);
    let mut late = Listener::connect(&other, options).await.unwrap();
    expect(&mut late, sent - 2..=sent).await;
    stack.finish().await;
}

async fn a_listener_moves_to_another_fanout_from_its_cursors(lane: Lane) {
    let mut stack = Stack::builder(lane).start().await;
    let token = stack.token("acme", "u1");
    let publisher = Publisher::new(&server(stack.ingests[0].url(), &token)).unwrap();
    let mut first = Listener::connect(&server(stack.fanouts[0].url(), &token), alerts())
        .await
        .unwrap();
    first.subscribed().await.unwrap();
    publish(&publisher, 1..=1).await;
    expect(&mut first, 1..=1).await;
    let since = first.cursors();
    first.close().await;
    stack.fanouts.remove(0).stop().await;
    publish(&publisher, 2..=5).await;
    stack.start_fanout().await;
    let options = ListenerOptions { since, ..alerts() };
    let mut second = Listener::connect(&server(stack.fanouts[0].url(), &token), options)
        .await
        .unwrap();
    publish(&publisher, 6..=6).await;
    expect(&mut second, 2..=6).await;
    stack.finish().await;
}

async fn a_place_that_nobody_knows_is_told_as_unrecovered_and_the_stream_goes_on(lane: Lane) {
    let stack = Stack::builder(lane).start().await;
    let token = stack.token("acme", "u1");
    let publisher = Publisher::new(&server(stack.ingests[0].url(), &token)).unwrap();
    let place = server(stack.fanouts[0].url(), &token);
    let mut first = Listener::connect(&place, alerts()).await.unwrap();
    first.subscribed().await.unwrap();
    publish(&publisher, 1..=1).await;
    expect(&mut first, 1..=1).await;
    let mut since = first.cursors();
    first.close().await;
    // Of another generation of the topic: the shards were laid out anew since.
    since.values_mut().for_each(|cursor| cursor.generation += 7);

    let options = ListenerOptions { since, ..alerts() };
    let mut back = Listener::connect(&place, options).await.unwrap();
    let told = async {
        loop {
            if let Event::Unrecovered { stream, .. } = back.next().await.unwrap() {
                return stream.to_string();
            }
        }
    };
    let stream = tokio::time::timeout(PATIENCE, told).await.expect("told in time");
    assert!(stream == "channel:alerts" || stream == "user:u1", "{stream}");
    publish(&publisher, 2..=2).await;
    // What is kept of the stream comes again in place of what cannot be recovered.
    let kept = next(&mut back).await.delivery.envelope.content;
    if kept != "2" {
        assert_eq!(kept, "1");
        expect(&mut back, 2..=2).await;
    }
    stack.finish().await;
}
