//! Handing over: a rebalance that repeats nothing, and what goes on meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use carillon_bus::{ConsumerOptions, Event, Record, TopicPartition};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};

use crate::{
    stage::{Lane, Stage, on_both_lanes},
    support::{Member, PATIENCE, eventually, metric, number, outgoing, send_numbers},
};

on_both_lanes!(
    what_is_begun_when_a_partition_goes_is_finished_and_only_what_was_let_go_is_repeated,
    an_owner_that_does_neither_holds_a_rebalance_up_no_longer_than_its_bound,
    foreign_metadata_of_a_commit_skips_nothing,
    a_close_in_the_middle_of_a_rebalance_is_bounded_and_repeats_nothing,
    a_partition_that_is_full_while_the_group_rebalances_goes_on_afterwards,
    partitions_that_stay_go_on_while_members_join_and_leave,
);

fn options() -> ConsumerOptions {
    ConsumerOptions {
        commit_every: Duration::from_millis(100),
        ..ConsumerOptions::default()
    }
}

async fn what_is_begun_when_a_partition_goes_is_finished_and_only_what_was_let_go_is_repeated(lane: Lane) {
    let stage = Stage::start(lane, 2).await;
    send_numbers(&stage.place.producer(), &stage.topic, 2, 0..40).await;
    let mut first = stage.member(options());
    first.until(|m| m.records.len() == 40).await;
    let mut second = stage.member(options());
    let gone = async {
        let gone = loop {
            match first.events.recv().await.unwrap() {
                Event::Revoked(partitions) => break partitions[0].partition,
                Event::Assigned(_) | Event::Records(_) => {}
            }
        };
        // Of every three records one was not begun; the others end in another order than they came.
        let theirs = first.records.iter().rev().filter(|r| r.partition == gone);
        let (begun, not): (Vec<&Record>, Vec<_>) = theirs.partition(|r| r.offset % 3 != 1);
        for record in not {
            first
                .consumer
                .let_go(&record.topic, record.partition, record.offset);
        }
        begun.into_iter().for_each(|record| first.finish(record));
        gone
    };
    let last = |m: &Member| m.records.iter().any(|r| r.offset == 19);
    let (gone, ()) = tokio::join!(gone, second.until(last));
    let offsets: Vec<_> = second.records.iter().map(|r| r.offset).collect();
    assert_eq!(offsets, [1, 4, 7, 10, 13, 16, 19]);
    assert!(second.records.iter().all(|r| r.partition == gone));
}

async fn an_owner_that_does_neither_holds_a_rebalance_up_no_longer_than_its_bound(lane: Lane) {
    let stage = Stage::start(lane, 2).await;
    send_numbers(&stage.place.producer(), &stage.topic, 2, 0..20).await;
    let mut first = stage.member(ConsumerOptions {
        hand_over: Duration::from_millis(200),
        ..options()
    });
    first.until(|m| m.records.len() == 20).await;
    let mut second = stage.member(options());
    let begun = Instant::now();
    second.until(|m| m.records.len() == 10).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

async fn foreign_metadata_of_a_commit_skips_nothing(lane: Lane) {
    let stage = Stage::start(lane, 3).await;
    send_numbers(&stage.place.producer(), &stage.topic, 3, 0..30).await;
    let (bootstrap, group, topic) = (
        stage.place.config.bootstrap.clone(),
        stage.group.clone(),
        stage.topic.clone(),
    );
    let foreign = move || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("group.id", group);
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        let long = "x".repeat(4000);
        for (partition, text) in ["by another tool", "carillon1.AAAAAAAAAAAAAA", &long]
            .iter()
            .enumerate()
        {
            let at = Offset::Offset(4);
            list.add_partition_offset(&topic, partition as i32, at).unwrap();
            let mut element = list.find_partition(&topic, partition as i32).unwrap();
            element.set_metadata(text);
        }
        consumer.commit(&list, CommitMode::Sync).unwrap();
    };
    tokio::task::spawn_blocking(foreign).await.unwrap();
    let mut member = stage.member(options());
    member.until(|m| m.records.len() == 18).await;
    member.assert_in_order();
    assert!(member.records.iter().all(|r| r.offset >= 4));
}

async fn a_close_in_the_middle_of_a_rebalance_is_bounded_and_repeats_nothing(lane: Lane) {
    let stage = Stage::start(lane, 4).await;
    send_numbers(&stage.place.producer(), &stage.topic, 4, 0..400).await;
    let mut first = stage.member(options());
    first.until(|m| m.records.len() == 400).await;
    let odd = first.records.iter().filter(|r| number(r) % 2 == 1);
    odd.for_each(|record| first.finish(record));
    // The second has asked to join when the first leaves.
    let mut second = stage.member(options());
    first.until(|m| m.assigned.len() < 4).await;
    let begun = Instant::now();
    first.consumer.close(Duration::from_secs(10)).await.unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    second.until(|m| m.records.len() == 200).await;
    assert!(second.records.iter().all(|r| number(r).is_multiple_of(2)));
    println!("closing took {took:?}");
}

async fn a_partition_that_is_full_while_the_group_rebalances_goes_on_afterwards(lane: Lane) {
    let stage = Stage::start(lane, 2).await;
    send_numbers(&stage.place.producer(), &stage.topic, 2, 0..1000).await;
    let options = ConsumerOptions {
        in_flight_per_partition: 100,
        hand_over: Duration::from_millis(50),
        ..options()
    };
    let mut first = stage.member(options.clone());
    first.until(|m| m.records.len() >= 150).await;
    let paused = r#"carillon_bus_pauses_total{client="carillon",kind="group",reason="in_flight"}"#;
    eventually("a pause", || metric(&stage.place.metrics, paused) >= Some(1.0)).await;
    let mut second = stage.member(options);
    first.until(|m| m.assigned.len() == 1).await;
    let all = |m: &mut Member| {
        m.finish_all();
        let of = |p: &TopicPartition| {
            m.records
                .iter()
                .any(|r| r.partition == p.partition && r.offset == 499)
        };
        m.assigned.iter().any(of)
    };
    while !(all(&mut first) && all(&mut second)) {
        for member in [&mut first, &mut second] {
            drop(tokio::time::timeout(Duration::from_millis(10), member.step()).await);
        }
    }
}

/// The longest time between two records of a partition, as the owner saw them.
#[derive(Default)]
struct Gaps(BTreeMap<i32, (Last, Duration)>);

/// When a partition's last record came.
type Last = Option<Instant>;

impl Gaps {
    fn saw(&mut self, record: &Record) {
        let (last, longest) = self.0.entry(record.partition).or_default();
        if let Some(last) = last {
            *longest = (*longest).max(last.elapsed());
        }
        *last = Some(Instant::now());
    }

    fn longest(&self) -> Duration {
        self.0
            .values()
            .map(|(_, longest)| *longest)
            .max()
            .unwrap_or_default()
    }

    /// Of partitions that never changed their owner, and then of others.
    fn forget(&mut self) {
        self.0.values_mut().for_each(|gap| gap.1 = Duration::ZERO);
    }
}

/// Handles what comes until told to end: at once, and letting go nothing. Says how long each partition paused.
async fn handle(member: &mut Member, gaps: &mut Gaps, mut ended: impl FnMut(&Member) -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !ended(member) {
        assert!(Instant::now() < give_up, "{:?}", member.assigned);
        let Ok(event) = tokio::time::timeout(Duration::from_millis(20), member.events.recv()).await else {
            continue;
        };
        match event.unwrap() {
            Event::Records(batch) => {
                for record in &batch.records {
                    gaps.saw(record);
                    member.finish(record);
                }
                member.records.extend(batch.records);
            }
            Event::Assigned(partitions) => member.assigned.extend(partitions),
            Event::Revoked(partitions) => {
                gaps.0
                    .retain(|at, _| partitions.iter().all(|p| p.partition != *at));
                member.assigned.retain(|p| !partitions.contains(p));
            }
        }
    }
}

/// 200 records a second over 4 partitions while members come and go.
async fn partitions_that_stay_go_on_while_members_join_and_leave(lane: Lane) {
    let stage = Stage::start(lane, 4).await;
    let producer = stage.place.producer();
    let mut first = stage.member(options());
    let mut gaps = Gaps::default();
    let topic = stage.topic.clone();
    let stop = tokio_util::sync::CancellationToken::new();
    let ended = stop.clone();
    let (told, sending) = tokio::sync::oneshot::channel();
    stage.place.tasks.spawn("sender", async move {
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        let mut sent = 0;
        while !ended.is_cancelled() {
            pace.tick().await;
            drop(
                producer
                    .send(outgoing(&topic, Some(sent % 4), "k", sent))
                    .unwrap(),
            );
            sent += 1;
        }
        producer.flush(PATIENCE).await.unwrap();
        told.send(sent).unwrap();
    });
    handle(&mut first, &mut gaps, |m| m.records.len() > 200).await;
    gaps.forget();
    let from = Instant::now();
    handle(&mut first, &mut gaps, |_| from.elapsed() > Duration::from_secs(2)).await;
    let steady = gaps.longest();
    gaps.forget();

    let mut second = stage.member(options());
    let mut theirs = Gaps::default();
    let shared = AtomicBool::new(false);
    let ((), ()) = tokio::join!(
        // The first goes on handling until the second has its share.
        handle(&mut first, &mut gaps, |_| shared.load(Ordering::Relaxed)),
        async {
            let has = |m: &Member| m.assigned.len() == 2 && m.records.len() > 50;
            handle(&mut second, &mut theirs, has).await;
            shared.store(true, Ordering::Relaxed);
        },
    );
    let from = Instant::now();
    handle(&mut first, &mut gaps, |_| from.elapsed() > Duration::from_secs(1)).await;
    let joined = gaps.longest();
    gaps.forget();

    let theirs: Vec<u32> = second.numbers();
    let (closed, ()) = tokio::join!(
        second.consumer.close(Duration::from_secs(10)),
        handle(&mut first, &mut gaps, |m| m.assigned.len() == 4),
    );
    closed.unwrap();
    let left = gaps.longest();
    stop.cancel();
    let sent = sending.await.unwrap() as usize;
    let from = Instant::now();
    handle(&mut first, &mut gaps, |m| {
        // Without those that came twice.
        let seen: BTreeSet<u32> = m.numbers().into_iter().chain(theirs.iter().copied()).collect();
        seen.len() >= sent || from.elapsed() > PATIENCE / 2
    })
    .await;
    let mut seen = first.numbers();
    seen.extend(second.records.iter().map(number));
    seen.sort_unstable();
    let twice = seen.windows(2).filter(|pair| pair[0] == pair[1]).count();
    seen.dedup();
    println!(
        "longest pause of a partition that stays: {steady:?} steady, {joined:?} while one joins, {left:?} while one \
         leaves; {sent} records, {twice} twice"
    );
    assert_eq!(seen.len(), sent, "nothing is lost");
    // What the second had been handed and not taken when it closed.
    assert!(twice < 50, "{twice}");
    // On a quiet machine 35 to 200 ms were measured. What is bounded here is a stall by rule, such as a commit
    // that is waited for until the session ends.
    let bound = Duration::from_secs(5);
    assert!(joined < bound && left < bound, "{joined:?} {left:?}");
}
