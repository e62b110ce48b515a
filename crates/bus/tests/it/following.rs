//! Followers: chosen partitions that come and go, with committed offsets and no members.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use carillon_bus::{ConsumerOptions, Event, Follower, Record};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use tokio::sync::mpsc::Receiver;

use crate::{
    stage::{Lane, Stage, on_both_lanes},
    support::{Member, PATIENCE, eventually, metric, send_numbers},
};

on_both_lanes!(
    only_what_is_chosen_is_read_and_it_changes_while_running,
    what_one_finished_another_does_not_repeat_and_the_rest_it_does,
    nothing_comes_of_a_partition_after_its_end_was_told,
    an_owner_that_does_not_finish_holds_an_end_up_no_longer_than_its_bound,
    a_followed_partition_at_its_bound_waits_and_is_not_paused_when_it_comes_back,
    a_committed_offset_that_is_gone_begins_at_the_oldest_record,
    a_partition_that_is_added_later_begins_when_it_is_there,
    an_owner_that_pauses_a_follower_gets_nothing_until_it_resumes,
);

fn options() -> ConsumerOptions {
    ConsumerOptions {
        commit_every: Duration::from_millis(100),
        ..ConsumerOptions::default()
    }
}

fn partitions(member: &Member<Follower>) -> Vec<i32> {
    member.assigned.iter().map(|p| p.partition).collect()
}

fn offsets(member: &Member<Follower>, partition: i32) -> Vec<i64> {
    let of = member.records.iter().filter(|r| r.partition == partition);
    of.map(|r| r.offset).collect()
}

async fn only_what_is_chosen_is_read_and_it_changes_while_running(lane: Lane) {
    let stage = Stage::start(lane, 4).await;
    send_numbers(&stage.place.producer(), &stage.topic, 4, 0..40).await;
    let mut follower = stage.follower(options());
    follower.consumer.assign(&[1]);
    follower.consumer.assign(&[1, 3]);
    follower.until(|m| m.records.len() == 20).await;
    assert_eq!(partitions(&follower), [1, 3]);
    assert_eq!(
        (follower.consumer.begun_at(1), follower.consumer.begun_at(0)),
        (Some(0), None)
    );
    follower.finish_all();
    follower.consumer.unassign(&[1]).await;
    assert_eq!(follower.consumer.begun_at(1), None);
    let committed = stage.admin().committed(&stage.group, &stage.topic).await.unwrap();
    assert_eq!(committed[1], (1, Some(10)));
    assert_eq!(committed[0], (0, None));
    follower.consumer.assign(&[0]);
    follower
        .until(|m| partitions(m) == [0, 3] && m.records.len() == 30)
        .await;
    follower.finish_all();
    follower.consumer.close(PATIENCE).await.unwrap();
    let remaining = stage.admin().remaining(&stage.group, &stage.topic).await.unwrap();
    assert_eq!(remaining, [(0, 10, 10), (1, 10, 10), (2, 0, 10), (3, 10, 10)]);
    assert_eq!(stage.admin().lag(&stage.group, &stage.topic).await.unwrap(), 10);
}

async fn what_one_finished_another_does_not_repeat_and_the_rest_it_does(lane: Lane) {
    let stage = Stage::start(lane, 2).await;
    send_numbers(&stage.place.producer(), &stage.topic, 2, 0..40).await;
    let mut first = stage.follower(options());
    first.consumer.assign(&[0, 1]);
    first.until(|m| m.records.len() == 40).await;
    let (go, stay): (Vec<_>, Vec<_>) = first.records.iter().partition(|r| r.partition == 0);
    // In another order than they came; of every three one was not begun.
    for record in go.iter().rev().filter(|r| r.offset % 3 != 1) {
        first.finish(record);
    }
    for record in go.iter().filter(|r| r.offset % 3 == 1) {
        first
            .consumer
            .let_go(&record.topic, record.partition, record.offset);
    }
    let begun = Instant::now();
    first.consumer.unassign(&[0]).await;
    let took = begun.elapsed();
    println!("letting a partition go took {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");

    let mut second = stage.follower(options());
    second.consumer.assign(&[0]);
    second.until(|m| m.records.iter().any(|r| r.offset == 19)).await;
    assert_eq!(offsets(&second, 0), [1, 4, 7, 10, 13, 16, 19]);
    assert_eq!(second.consumer.begun_at(0), Some(1));
    let skipped = r#"carillon_bus_skipped_total{client="carillon",kind="follower"}"#;
    assert_eq!(metric(&stage.place.metrics, skipped), Some(12.0));

    // The first goes on with what it has, while the other commits in the same group.
    stay.iter().for_each(|record| first.finish(record));
    second.finish_all();
    let admin = stage.admin();
    let give_up = Instant::now() + PATIENCE;
    while admin.lag(&stage.group, &stage.topic).await.unwrap() > 0 {
        assert!(Instant::now() < give_up, "never committed");
    }
    let failed = r#"carillon_bus_commits_total{client="carillon",kind="follower",result="failed"}"#;
    assert_eq!(metric(&stage.place.metrics, failed), None);
}

/// Takes an event in, and asserts that nothing comes of what has ended.
async fn take_in(events: &mut Receiver<Event>, held: &mut Vec<Record>, ended: &mut BTreeSet<i32>) {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    match event.expect("an event in time").expect("a follower that goes on") {
        Event::Records(batch) => {
            assert!(batch.records.iter().all(|r| !ended.contains(&r.partition)));
            held.extend(batch.records);
        }
        Event::Assigned(began) => began.iter().for_each(|p| assert!(ended.remove(&p.partition))),
        Event::Revoked(gone) => ended.extend(gone.iter().map(|p| p.partition)),
    }
}

async fn nothing_comes_of_a_partition_after_its_end_was_told(lane: Lane) {
    let stage = Stage::start(lane, 2).await;
    let producer = stage.place.producer();
    let mut follower = stage.follower(ConsumerOptions {
        queue: 40,
        batch: 10,
        ..options()
    });
    follower.consumer.assign(&[0, 1]);
    send_numbers(&producer, &stage.topic, 2, 0..2000).await;
    follower.until(|m| m.records.len() > 100).await;
    let Member {
        consumer,
        mut events,
        records: mut held,
        ..
    } = follower;
    let mut ended = BTreeSet::new();
    for turn in 0..6 {
        let goes = turn % 2;
        let parting = [goes];
        let told = async {
            while !ended.contains(&goes) {
                take_in(&mut events, &mut held, &mut ended).await;
            }
            for record in held.iter().filter(|r| r.partition == goes) {
                consumer.let_go(&record.topic, record.partition, record.offset);
            }
        };
        let ((), ()) = tokio::join!(consumer.unassign(&parting), told);
        consumer.assign(&[goes]);
        while ended.contains(&goes) {
            take_in(&mut events, &mut held, &mut ended).await;
        }
    }
    // Nothing was finished, so everything comes again.
    drop(events);
    consumer.close(PATIENCE).await.unwrap();
    let mut second = stage.follower(options());
    second.consumer.assign(&[0, 1]);
    second.until(|m| m.records.len() == 2000).await;
    second.assert_in_order();
}

async fn an_owner_that_does_not_finish_holds_an_end_up_no_longer_than_its_bound(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    send_numbers(&stage.place.producer(), &stage.topic, 1, 0..10).await;
    let mut follower = stage.follower(options());
    follower.consumer.assign(&[0]);
    follower.until(|m| m.records.len() == 10).await;
    let first = &follower.records[0];
    follower.finish(first);
    let begun = Instant::now();
    follower.consumer.unassign(&[0]).await;
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_millis(2600),
        "{took:?}"
    );
    // What is finished afterwards has no effect.
    follower.finish_all();
    follower.consumer.assign(&[0]);
    follower.records.clear();
    follower.until(|m| m.records.len() == 9).await;
    assert_eq!(offsets(&follower, 0), (1..10).collect::<Vec<_>>());
}

async fn a_followed_partition_at_its_bound_waits_and_is_not_paused_when_it_comes_back(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    send_numbers(&stage.place.producer(), &stage.topic, 1, 0..500).await;
    let mut follower = stage.follower(ConsumerOptions {
        in_flight_per_partition: 100,
        batch: 20,
        hand_over: Duration::from_millis(50),
        ..options()
    });
    follower.consumer.assign(&[0]);
    let paused = r#"carillon_bus_pauses_total{client="carillon",kind="follower",reason="in_flight"}"#;
    follower.until(|m| m.records.len() >= 80).await;
    eventually("a pause", || metric(&stage.place.metrics, paused) >= Some(1.0)).await;
    assert!(follower.records.len() <= 100);
    follower.consumer.unassign(&[0]).await;
    follower.consumer.assign(&[0]);
    follower.until(|m| m.assigned.is_empty()).await;
    follower.records.clear();
    let mut finished = 0;
    while finished < 500 {
        let more = |m: &Member<Follower>| m.records.len() - finished >= 80 || m.records.len() == 500;
        follower.until(more).await;
        assert!(follower.records.len() - finished <= 100);
        follower.records[finished..]
            .iter()
            .for_each(|r| follower.finish(r));
        finished = follower.records.len();
    }
    follower.assert_in_order();
    assert_eq!(follower.numbers(), (0..500).collect::<Vec<_>>());
}

async fn a_committed_offset_that_is_gone_begins_at_the_oldest_record(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    send_numbers(&stage.place.producer(), &stage.topic, 1, 0..10).await;
    let (bootstrap, group, topic) = (
        stage.place.config.bootstrap.clone(),
        stage.group.clone(),
        stage.topic.clone(),
    );
    let beyond = move || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("group.id", group);
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Offset(1000))
            .unwrap();
        consumer.commit(&list, CommitMode::Sync).unwrap();
    };
    tokio::task::spawn_blocking(beyond).await.unwrap();
    let mut follower = stage.follower(options());
    follower.consumer.assign(&[0]);
    follower.until(|m| m.records.len() == 10).await;
    assert_eq!(follower.consumer.begun_at(0), Some(0));
    let remaining = stage.admin().remaining(&stage.group, &stage.topic).await.unwrap();
    assert_eq!(remaining, [(0, 0, 10)]);
}

async fn a_partition_that_is_added_later_begins_when_it_is_there(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    let mut follower = stage.follower(options());
    // One that is not there holds up none that is.
    follower.consumer.assign(&[0, 2]);
    follower.until(|m| partitions(m) == [0]).await;
    stage.admin().apply(&[stage.spec(3)]).await.unwrap();
    send_numbers(&stage.place.producer(), &stage.topic, 3, 0..9).await;
    follower
        .until(|m| partitions(m) == [0, 2] && m.records.len() == 6)
        .await;
}

async fn an_owner_that_pauses_a_follower_gets_nothing_until_it_resumes(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    send_numbers(&stage.place.producer(), &stage.topic, 1, 0..5).await;
    let mut follower = stage.follower(options());
    follower.consumer.pause();
    follower.consumer.assign(&[0]);
    follower.until(|m| m.assigned.len() == 1).await;
    let quiet = tokio::time::timeout(Duration::from_millis(500), follower.events.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    follower.consumer.resume();
    follower.until(|m| m.records.len() == 5).await;
    follower.finish_all();
    follower.consumer.close(PATIENCE).await.unwrap();
}
