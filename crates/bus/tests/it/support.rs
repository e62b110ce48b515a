//! What the tests share: a member of a group with an owner that can be told what to do, and waiting.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use carillon_bus::{
    Ack, BusConfig, ConsumerOptions, Event, Follower, GroupConsumer, Handle, Outgoing, Producer, Record,
    TopicPartition,
};
use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use carillon_schemas::headers::Headers;
use tokio::sync::mpsc;

/// Longest wait for anything in a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A place for one test's clients.
pub(crate) struct Place {
    pub(crate) config: BusConfig,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Tasks,
}

impl Place {
    pub(crate) fn new(bootstrap: impl Into<String>) -> Self {
        let mut config = BusConfig::new(bootstrap);
        config.session_timeout = Duration::from_millis(3000);
        config.fetch_wait = Duration::from_millis(5);
        config.statistics_every = Duration::from_millis(200);
        Self {
            config,
            metrics: Metrics::new(),
            tasks: Tasks::new(),
        }
    }

    pub(crate) fn producer(&self) -> Producer {
        Producer::new(&self.config, &self.metrics, &self.tasks).unwrap()
    }

    pub(crate) fn member(&self, group: &str, topic: &str, options: ConsumerOptions) -> Member {
        let (consumer, events) = GroupConsumer::start(
            &self.config,
            group,
            &[topic.to_owned()],
            options,
            &self.metrics,
            &self.tasks,
        )
        .unwrap();
        Member::new(consumer, events)
    }

    pub(crate) fn follower(&self, group: &str, topic: &str, options: ConsumerOptions) -> Member<Follower> {
        let (consumer, events) =
            Follower::start(&self.config, group, topic, options, &self.metrics, &self.tasks).unwrap();
        Member::new(consumer, events)
    }
}

pub(crate) fn outgoing(topic: &str, partition: Option<i32>, key: &str, value: impl ToString) -> Outgoing {
    Outgoing {
        topic: Arc::from(topic),
        partition,
        key: Bytes::from(key.to_owned()),
        value: Bytes::from(value.to_string()),
        headers: Headers::default(),
    }
}

/// Sends numbers as values to partitions in turn and awaits every acknowledgement.
pub(crate) async fn send_numbers(
    producer: &Producer,
    topic: &str,
    partitions: i32,
    numbers: std::ops::Range<u32>,
) -> Vec<Ack> {
    let mut deliveries = Vec::new();
    for n in numbers {
        let record = outgoing(topic, Some(n as i32 % partitions), "key", n);
        deliveries.push(producer.send(record).unwrap());
    }
    let mut acks = Vec::new();
    for delivery in deliveries {
        acks.push(delivery.await.unwrap());
    }
    acks
}

pub(crate) fn number(record: &Record) -> u32 {
    std::str::from_utf8(record.value.as_ref().unwrap())
        .unwrap()
        .parse()
        .unwrap()
}

/// A member of a group, or a follower, and what it was told so far.
pub(crate) struct Member<C = GroupConsumer> {
    pub(crate) consumer: C,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) assigned: BTreeSet<TopicPartition>,
    pub(crate) records: Vec<Record>,
}

impl<C: Deref<Target = Handle>> Member<C> {
    fn new(consumer: C, events: mpsc::Receiver<Event>) -> Self {
        Self {
            consumer,
            events,
            assigned: BTreeSet::new(),
            records: Vec::new(),
        }
    }

    /// Takes the next event in.
    pub(crate) async fn step(&mut self) {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        match event.expect("an event in time").expect("a member that goes on") {
            Event::Records(batch) => self.records.extend(batch.records),
            Event::Assigned(partitions) => self.assigned.extend(partitions),
            Event::Revoked(partitions) => self.assigned.retain(|p| !partitions.contains(p)),
        }
    }

    pub(crate) async fn until(&mut self, mut met: impl FnMut(&Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !met(self) {
            assert!(
                Instant::now() < give_up,
                "assigned {:?}, {} records",
                self.assigned,
                self.records.len()
            );
            self.step().await;
        }
    }

    pub(crate) fn finish(&self, record: &Record) {
        self.consumer
            .finish(&record.topic, record.partition, record.offset);
    }

    pub(crate) fn finish_all(&self) {
        for record in &self.records {
            self.finish(record);
        }
    }

    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.records.iter().map(number).collect()
    }

    /// Asserts that each partition's records came in order and without a gap or a repetition.
    pub(crate) fn assert_in_order(&self) {
        let mut last: BTreeMap<i32, i64> = BTreeMap::new();
        for record in &self.records {
            if let Some(before) = last.insert(record.partition, record.offset) {
                assert_eq!(record.offset, before + 1, "partition {}", record.partition);
            }
        }
    }
}

/// Waits for a condition that changes on another thread.
pub(crate) async fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !met() {
        assert!(Instant::now() < give_up, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The value of a metric with all its labels, as rendered.
pub(crate) fn metric(metrics: &Metrics, line: &str) -> Option<f64> {
    let text = metrics.render();
    let found = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
    found.map(|value| value.parse().unwrap())
}
