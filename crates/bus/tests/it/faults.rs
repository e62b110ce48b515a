//! Faults: brokers that fail, go and come, on librdkafka's mock cluster.

use std::time::{Duration, Instant};

use carillon_bus::{
    ConsumerOptions, RangeReader, SendError,
    mock::{Fault, MockKafka, Request},
};

use crate::support::{PATIENCE, Place, eventually, metric, outgoing, send_numbers};

const TOPIC: &str = "numbers";

fn start(brokers: u8, partitions: u16) -> (MockKafka, Place) {
    let kafka = MockKafka::start(brokers).unwrap();
    kafka.create_topic(TOPIC, partitions, brokers).unwrap();
    let place = Place::new(kafka.bootstrap());
    (kafka, place)
}

#[tokio::test]
async fn records_that_meet_errors_on_the_way_are_acknowledged_once_and_in_order() {
    let (kafka, place) = start(1, 1);
    let producer = place.producer();
    send_numbers(&producer, TOPIC, 1, 0..1).await;
    kafka.fail_next(
        Request::Produce,
        &[Fault::NotEnoughReplicas, Fault::NotLeader, Fault::Storage],
    );
    // One in flight while it fails: the mock does not refuse what overtakes a failed request.
    let mut acks = send_numbers(&producer, TOPIC, 1, 1..2).await;
    acks.extend(send_numbers(&producer, TOPIC, 1, 2..100).await);
    let offsets: Vec<_> = acks.iter().map(|ack| ack.offset).collect();
    assert_eq!(offsets, (1..100).collect::<Vec<_>>());
    assert_eq!(producer.in_flight(), 0);
}

#[tokio::test]
async fn a_record_that_the_broker_refuses_says_so_in_its_class() {
    let (kafka, place) = start(1, 1);
    let producer = place.producer();
    let large = outgoing(TOPIC, Some(0), "k", "x".repeat(2_000_000));
    assert_eq!(producer.send(large).unwrap_err(), SendError::TooLarge);
    for (fault, class) in [(Fault::TooLarge, "too large"), (Fault::Unauthorized, "refuses")] {
        kafka.fail_next(Request::Produce, &[fault]);
        let sent = producer.send(outgoing(TOPIC, Some(0), "k", "v")).unwrap();
        let error = sent.await.unwrap_err();
        assert!(error.to_string().contains(class), "{error:?}");
    }
}

#[tokio::test]
async fn a_full_queue_is_an_error_at_once() {
    let (kafka, mut place) = start(1, 1);
    place.config.producer_records = 10;
    let producer = place.producer();
    send_numbers(&producer, TOPIC, 1, 0..1).await;
    kafka.down(1).unwrap();
    let mut waiting = Vec::new();
    let begun = Instant::now();
    let error = loop {
        match producer.send(outgoing(TOPIC, Some(0), "k", "v")) {
            Ok(delivery) => waiting.push(delivery),
            Err(error) => break error,
        }
    };
    assert_eq!(error, SendError::QueueFull);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!((waiting.len(), producer.in_flight()), (10, 10));
    kafka.up(1).unwrap();
    for delivery in waiting {
        delivery.await.unwrap();
    }
    assert_eq!(producer.in_flight(), 0);
}

#[tokio::test]
async fn a_broker_that_is_away_too_long_leaves_the_outcome_unknown_and_is_told() {
    let (kafka, mut place) = start(1, 1);
    place.config.message_timeout = Duration::from_millis(1500);
    place.config.request_deadline = Duration::from_millis(500);
    let producer = place.producer();
    send_numbers(&producer, TOPIC, 1, 0..1).await;
    assert!(producer.connected());
    kafka.down(1).unwrap();
    let sent = producer.send(outgoing(TOPIC, Some(0), "k", "v")).unwrap();
    let begun = Instant::now();
    assert!(matches!(sent.await, Err(SendError::OutcomeUnknown(_))));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    eventually("the producer sees that it is cut off", || !producer.connected()).await;
    kafka.up(1).unwrap();
    eventually("the producer sees the broker again", || producer.connected()).await;
    send_numbers(&producer, TOPIC, 1, 1..2).await;
}

#[tokio::test]
async fn a_partition_that_does_not_exist_refuses_its_records() {
    let (_kafka, place) = start(1, 1);
    let producer = place.producer();
    let error = match producer.send(outgoing(TOPIC, Some(7), "k", "v")) {
        Ok(delivery) => delivery.await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, SendError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_broker_that_goes_and_comes_costs_a_member_nothing() {
    let (kafka, place) = start(1, 3);
    let producer = place.producer();
    let mut member = place.member("g", TOPIC, ConsumerOptions::default());
    member.until(|m| m.assigned.len() == 3).await;
    send_numbers(&producer, TOPIC, 3, 0..300).await;
    member.until(|m| m.records.len() >= 100).await;
    kafka.down(1).unwrap();
    let deliveries: Vec<_> = (300..600)
        .map(|n| producer.send(outgoing(TOPIC, Some(n % 3), "k", n)).unwrap())
        .collect();
    kafka.up(1).unwrap();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    member.until(|m| m.records.len() >= 600).await;
    member.assert_in_order();
    let mut numbers = member.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..600).collect::<Vec<_>>());
    member.finish_all();
    member.consumer.close(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn commits_that_fail_are_repeated_and_a_moved_coordinator_is_found() {
    let (kafka, place) = start(2, 1);
    kafka.coordinator("g", 1).unwrap();
    let options = ConsumerOptions {
        commit_every: Duration::from_millis(50),
        ..ConsumerOptions::default()
    };
    let mut member = place.member("g", TOPIC, options.clone());
    send_numbers(&place.producer(), TOPIC, 1, 0..20).await;
    member.until(|m| m.records.len() == 20).await;
    kafka.fail_next(Request::OffsetCommit, &[Fault::NotCoordinator, Fault::Disconnect]);
    kafka.coordinator("g", 2).unwrap();
    for record in &member.records[..15] {
        member.finish(record);
    }
    let committed = r#"carillon_bus_commits_total{client="carillon",kind="group",result="committed"}"#;
    eventually("a commit", || metric(&place.metrics, committed) >= Some(1.0)).await;
    member.consumer.close(Duration::from_secs(15)).await.unwrap();
    let mut next = place.member("g", TOPIC, options);
    next.until(|m| m.records.len() >= 5).await;
    assert_eq!(next.numbers(), (15..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn closing_does_not_wait_longer_than_its_deadline_for_a_broker_that_is_away() {
    let (kafka, place) = start(1, 1);
    let mut member = place.member("g", TOPIC, ConsumerOptions::default());
    send_numbers(&place.producer(), TOPIC, 1, 0..1).await;
    member.until(|m| m.records.len() == 1).await;
    member.finish_all();
    kafka.down(1).unwrap();
    let begun = Instant::now();
    let closed = member.consumer.close(Duration::from_millis(300)).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let abandoned = metric(&place.metrics, "carillon_bus_abandoned_threads_total");
    assert_eq!(closed.is_err(), abandoned == Some(1.0));
}

#[tokio::test]
async fn a_producer_that_cannot_go_on_is_replaced() {
    let (kafka, place) = start(1, 1);
    let producer = place.producer();
    send_numbers(&producer, TOPIC, 1, 0..1).await;
    kafka.fail_next(Request::Produce, &[Fault::OutOfSequence]);
    let lost = producer.send(outgoing(TOPIC, Some(0), "k", "v")).unwrap();
    assert!(matches!(lost.await, Err(SendError::OutcomeUnknown(_))));
    let begun = Instant::now();
    loop {
        match producer.send(outgoing(TOPIC, Some(0), "k", "v")) {
            Ok(delivery) => match delivery.await {
                Ok(_) => break,
                Err(e) => assert!(!matches!(e, SendError::Refused(_)), "{e}"),
            },
            Err(SendError::Unavailable(_)) => tokio::task::yield_now().await,
            Err(e) => panic!("{e}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "never replaced");
    }
    assert_eq!(producer.in_flight(), 0);
}

#[tokio::test]
async fn a_read_from_a_broker_that_is_away_ends_by_its_deadline() {
    let (kafka, place) = start(1, 1);
    send_numbers(&place.producer(), TOPIC, 1, 0..5).await;
    let ranges = RangeReader::new(&place.config, TOPIC, 2, &place.metrics, &place.tasks).unwrap();
    ranges.read(0, 0, 5, usize::MAX, PATIENCE).await.unwrap();
    kafka.down(1).unwrap();
    let begun = std::time::Instant::now();
    let read = ranges.read(0, 0, 5, usize::MAX, Duration::from_millis(300)).await;
    assert!(read.is_err() && begun.elapsed() < Duration::from_secs(2));
    kafka.up(1).unwrap();
    let read = ranges.read(0, 0, 5, usize::MAX, PATIENCE).await.unwrap();
    assert_eq!(read.records.len(), 5);
}
