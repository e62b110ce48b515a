//! Groups: sharing, handing on, pausing, bounds.

use std::time::Duration;

use carillon_bus::{ConsumerOptions, Event, mock::MockKafka};

use crate::support::{Place, metric, send_numbers};

const TOPIC: &str = "numbers";

fn start(partitions: u16) -> (MockKafka, Place) {
    let kafka = MockKafka::start(1).unwrap();
    kafka.create_topic(TOPIC, partitions, 1).unwrap();
    let place = Place::new(kafka.bootstrap());
    (kafka, place)
}

#[tokio::test]
async fn what_is_unfinished_at_the_close_is_read_again_and_nothing_else() {
    let (_kafka, place) = start(1);
    let options = ConsumerOptions {
        commit_every: Duration::from_secs(3600),
        ..ConsumerOptions::default()
    };
    send_numbers(&place.producer(), TOPIC, 1, 0..10).await;
    let mut first = place.member("g", TOPIC, options.clone());
    first.until(|m| m.records.len() == 10).await;
    for n in [0, 1, 2, 4, 9] {
        first.finish(&first.records[n]);
    }
    first.consumer.close(Duration::from_secs(10)).await.unwrap();
    let mut second = place.member("g", TOPIC, options);
    second.until(|m| m.records.len() >= 7).await;
    assert_eq!(second.numbers(), (3..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_second_member_takes_over_what_was_committed_and_finishing_after_that_has_no_effect() {
    let (_kafka, place) = start(2);
    send_numbers(&place.producer(), TOPIC, 2, 0..20).await;
    let mut first = place.member("g", TOPIC, ConsumerOptions::default());
    first
        .until(|m| m.assigned.len() == 2 && m.records.len() == 20)
        .await;
    // Half of each partition is finished before the partition goes.
    for record in first.records.iter().filter(|r| r.offset < 5) {
        first.finish(record);
    }
    let mut second = place.member("g", TOPIC, ConsumerOptions::default());
    let (shared, taken) = tokio::join!(first.until(|m| m.assigned.len() == 1), async {
        second
            .until(|m| m.assigned.len() == 1 && m.records.len() >= 5)
            .await;
        second.records[0].partition
    });
    let () = shared;
    assert_eq!(
        second.records.iter().map(|r| r.offset).collect::<Vec<_>>(),
        [5, 6, 7, 8, 9]
    );
    for record in first.records.iter().filter(|r| r.partition == taken) {
        first.finish(record);
    }
    second.consumer.close(Duration::from_secs(10)).await.unwrap();
    first.records.clear();
    first
        .until(|m| m.assigned.len() == 2 && m.records.iter().any(|r| r.partition == taken))
        .await;
    let again = first.records.iter().find(|r| r.partition == taken).unwrap();
    assert_eq!(
        again.offset, 5,
        "what the second member did not finish comes again"
    );
}

#[tokio::test]
async fn a_partition_at_its_bound_waits_until_records_are_finished_and_loses_none() {
    let (_kafka, place) = start(1);
    let options = ConsumerOptions {
        in_flight_per_partition: 100,
        batch: 20,
        ..ConsumerOptions::default()
    };
    let producer = place.producer();
    send_numbers(&producer, TOPIC, 1, 0..500).await;
    let mut member = place.member("g", TOPIC, options);
    let mut finished = 0;
    while finished < 500 {
        member
            .until(|m| m.records.len() - finished >= 80 || m.records.len() == 500)
            .await;
        assert!(member.records.len() - finished <= 100);
        member.records[finished..].iter().for_each(|r| member.finish(r));
        finished = member.records.len();
    }
    member.assert_in_order();
    assert_eq!(member.numbers(), (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_owner_that_does_not_take_its_queue_pauses_the_partitions_and_gets_everything_later() {
    let (_kafka, place) = start(2);
    let options = ConsumerOptions {
        queue: 8,
        batch: 4,
        ..ConsumerOptions::default()
    };
    let mut member = place.member("g", TOPIC, options);
    member.until(|m| m.assigned.len() == 2).await;
    send_numbers(&place.producer(), TOPIC, 2, 0..300).await;
    let paused = r#"carillon_bus_pauses_total{client="carillon",kind="group",reason="queue"}"#;
    crate::support::eventually("a pause", || metric(&place.metrics, paused) >= Some(1.0)).await;
    while member.records.len() < 300 {
        member.step().await;
        member.finish_all();
    }
    member.assert_in_order();
    assert_eq!(member.assigned.len(), 2);
}

#[tokio::test]
async fn a_pause_of_the_owner_holds_what_is_assigned_meanwhile_and_ends_when_it_says_so() {
    let (_kafka, place) = start(1);
    send_numbers(&place.producer(), TOPIC, 1, 0..5).await;
    let mut member = place.member("g", TOPIC, ConsumerOptions::default());
    member.consumer.pause();
    member.until(|m| m.assigned.len() == 1).await;
    let quiet = tokio::time::timeout(Duration::from_millis(500), member.events.recv()).await;
    match quiet {
        Err(_) => {}
        // What was fetched before the pause was seen may still come, once.
        Ok(Some(Event::Records(batch))) => member.records.extend(batch.records),
        Ok(other) => panic!("{other:?}"),
    }
    member.consumer.resume();
    member.until(|m| m.records.len() == 5).await;
    assert_eq!(member.numbers(), (0..5).collect::<Vec<_>>());
}
