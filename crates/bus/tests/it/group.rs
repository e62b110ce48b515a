//! Groups: sharing, handing on, pausing, bounds.

use std::time::Duration;

use carillon_bus::{ConsumerOptions, Event, Record};

use crate::{
    stage::{Lane, Stage, on_both_lanes},
    support::{eventually, metric, number, outgoing, send_numbers},
};

on_both_lanes!(
    what_is_unfinished_at_the_close_is_read_again_and_nothing_else,
    a_second_member_takes_over_what_was_committed_and_finishing_after_that_has_no_effect,
    two_members_share_a_topic_and_one_that_leaves_is_replaced,
    a_partition_at_its_bound_waits_until_records_are_finished_and_loses_none,
    bytes_in_flight_never_pass_their_bound_by_more_than_a_record,
    an_owner_that_does_not_take_its_queue_pauses_the_partitions_and_gets_everything_later,
    a_pause_of_the_owner_holds_what_is_assigned_meanwhile_and_ends_when_it_says_so,
);

async fn what_is_unfinished_at_the_close_is_read_again_and_nothing_else(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    let options = ConsumerOptions {
        commit_every: Duration::from_secs(3600),
        ..ConsumerOptions::default()
    };
    send_numbers(&stage.place.producer(), &stage.topic, 1, 0..10).await;
    let mut first = stage.member(options.clone());
    first.until(|m| m.records.len() == 10).await;
    for n in [0, 1, 2, 4, 9] {
        first.finish(&first.records[n]);
    }
    first.consumer.close(Duration::from_secs(10)).await.unwrap();
    let mut second = stage.member(options);
    send_numbers(&stage.place.producer(), &stage.topic, 1, 10..11).await;
    second.until(|m| m.numbers().contains(&10)).await;
    assert_eq!(second.numbers(), [3, 5, 6, 7, 8, 10]);
    let skipped = r#"carillon_bus_skipped_total{client="carillon",kind="group"}"#;
    assert_eq!(metric(&stage.place.metrics, skipped), Some(2.0));
}

async fn a_second_member_takes_over_what_was_committed_and_finishing_after_that_has_no_effect(lane: Lane) {
    let stage = Stage::start(lane, 2).await;
    send_numbers(&stage.place.producer(), &stage.topic, 2, 0..20).await;
    let mut first = stage.member(ConsumerOptions::default());
    first
        .until(|m| m.assigned.len() == 2 && m.records.len() == 20)
        .await;
    // Half of each partition is finished before the partition goes.
    for record in first.records.iter().filter(|r| r.offset < 5) {
        first.finish(record);
    }
    let mut second = stage.member(ConsumerOptions::default());
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

async fn a_partition_at_its_bound_waits_until_records_are_finished_and_loses_none(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    let options = ConsumerOptions {
        in_flight_per_partition: 100,
        batch: 20,
        ..ConsumerOptions::default()
    };
    let producer = stage.place.producer();
    send_numbers(&producer, &stage.topic, 1, 0..500).await;
    let mut member = stage.member(options);
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

async fn bytes_in_flight_never_pass_their_bound_by_more_than_a_record(lane: Lane) {
    const BOUND: usize = 100_000;
    let stage = Stage::start(lane, 1).await;
    let options = ConsumerOptions {
        in_flight_bytes_per_partition: BOUND,
        ..ConsumerOptions::default()
    };
    let producer = stage.place.producer();
    // Every seventh record is larger than the bound by itself.
    let size = |n: u32| if n % 7 == 3 { 2 * BOUND } else { 9_000 };
    for n in 0..100 {
        let record = outgoing(&stage.topic, Some(0), "k", "x".repeat(size(n)));
        producer.send(record).unwrap().await.unwrap();
    }
    let mut member = stage.member(options);
    let mut finished = 0;
    while finished < 100 {
        member
            .until(|m| {
                let held = m.records[finished..].iter().map(Record::size);
                held.sum::<usize>() >= BOUND * 3 / 4 || m.records.len() == 100
            })
            .await;
        let held = member.records[finished..].iter().map(Record::size);
        assert!(held.sum::<usize>() <= BOUND + 2 * BOUND + 1);
        member.records[finished..].iter().for_each(|r| member.finish(r));
        finished = member.records.len();
    }
    member.assert_in_order();
}

async fn an_owner_that_does_not_take_its_queue_pauses_the_partitions_and_gets_everything_later(lane: Lane) {
    let stage = Stage::start(lane, 2).await;
    let options = ConsumerOptions {
        queue: 8,
        batch: 4,
        ..ConsumerOptions::default()
    };
    let mut member = stage.member(options);
    member.until(|m| m.assigned.len() == 2).await;
    send_numbers(&stage.place.producer(), &stage.topic, 2, 0..300).await;
    let paused = r#"carillon_bus_pauses_total{client="carillon",kind="group",reason="queue"}"#;
    eventually("a pause", || metric(&stage.place.metrics, paused) >= Some(1.0)).await;
    while member.records.len() < 300 {
        member.step().await;
        member.finish_all();
    }
    member.assert_in_order();
    assert_eq!(member.assigned.len(), 2);
}

async fn a_pause_of_the_owner_holds_what_is_assigned_meanwhile_and_ends_when_it_says_so(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    send_numbers(&stage.place.producer(), &stage.topic, 1, 0..5).await;
    let mut member = stage.member(ConsumerOptions::default());
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

async fn two_members_share_a_topic_and_one_that_leaves_is_replaced(lane: Lane) {
    let stage = Stage::start(lane, 4).await;
    let (producer, admin) = (stage.place.producer(), stage.admin());
    send_numbers(&producer, &stage.topic, 4, 0..400).await;
    let mut first = stage.member(ConsumerOptions::default());
    first.until(|m| m.records.len() == 400).await;
    first.assert_in_order();
    first.finish_all();
    let mut second = stage.place.member(
        &stage.group,
        &format!("^{}.*", &stage.topic[..stage.topic.len() - 4]),
        ConsumerOptions::default(),
    );
    let ((), ()) = tokio::join!(
        first.until(|m| m.assigned.len() == 2),
        second.until(|m| m.assigned.len() == 2)
    );
    send_numbers(&producer, &stage.topic, 4, 400..800).await;
    let ((), ()) = tokio::join!(
        first.until(|m| m.records.len() == 600),
        second.until(|m| m.records.len() == 200)
    );
    second.finish_all();
    second.consumer.close(Duration::from_secs(10)).await.unwrap();
    first.until(|m| m.assigned.len() == 4).await;
    first.finish_all();
    send_numbers(&producer, &stage.topic, 4, 800..804).await;
    first.until(|m| m.records.len() == 604).await;
    let mut numbers: Vec<_> = first.numbers();
    numbers.extend(second.records.iter().map(number));
    numbers.sort_unstable();
    assert_eq!(
        numbers,
        (0..804).collect::<Vec<_>>(),
        "nothing twice, nothing lost"
    );
    first.finish_all();
    first.consumer.close(Duration::from_secs(10)).await.unwrap();
    assert_eq!(admin.lag(&stage.group, &stage.topic).await.unwrap(), 0);
}
