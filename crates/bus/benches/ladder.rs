//! The ladder's read path: a member that is at its bound for long, in front of many records, on the embedded broker.
//!
//! In: nothing. Out: how long after half of the window was finished the next records come, and what the member
//! costs while it is paused. Always: every partition stays within its bound.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on should say where"
)]

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_broker::{Broker, Fsync, Options};
use carillon_bus::{Admin, BusConfig, ConsumerOptions, Event, GroupConsumer, Outgoing, Producer, SendError};
use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use carillon_loadtest::{
    process::{own_cpu_time, resident_bytes},
    report::Report,
};
use carillon_schemas::{
    headers::Headers,
    topics::{Timestamps, TopicSpec},
};
use tokio::sync::mpsc::Receiver;

const TOPIC: &str = "ladder";
/// A tier without records: its fetches wait at the broker.
const IDLE: &str = "idle";
const PARTITIONS: usize = 6;
const RECORDS: usize = 1_000_000;
const BYTES: usize = 300;
const ROUNDS: usize = 60;
/// How long it is left alone between two rounds, so that every fetch has ended.
const REST: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(10);
const FETCH_WAIT: Duration = Duration::from_millis(25);
const PAUSED: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut report = Report::new("ladder");
    report
        .setting("records", RECORDS)
        .setting("bytes", BYTES)
        .setting("partitions", PARTITIONS)
        .setting("fetch wait ms", FETCH_WAIT.as_millis())
        .setting("client", "in the same process");
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.fsync = Fsync::Interval(Duration::from_secs(1));
    let broker = Broker::bind(options).await.unwrap();
    let config = BusConfig::new(broker.local_addr().to_string());
    let (tasks, metrics) = (Tasks::new(), Metrics::new());
    let shutdown = tasks.shutdown().clone();
    tasks.spawn("broker", async move { broker.run(shutdown).await.unwrap() });
    Admin::new(&config, &metrics)
        .unwrap()
        .apply(&[spec(TOPIC), spec(IDLE)])
        .await
        .unwrap();
    let clients = Tasks::new();
    let producer = Producer::new(&config, &metrics, &clients).unwrap();
    fill(&producer).await;
    for (window, topics) in [(256, vec![TOPIC]), (1000, vec![TOPIC]), (1000, vec![TOPIC, IDLE])] {
        run(window, &topics, (&config, &metrics, &clients), &mut report).await;
    }
    clients.close(Duration::from_secs(5)).await;
    tasks.close(Duration::from_secs(5)).await;
    report.finish().unwrap();
}

async fn run(
    window: usize,
    topics: &[&str],
    (config, metrics, clients): (&BusConfig, &Metrics, &Tasks),
    report: &mut Report,
) {
    let options = ConsumerOptions {
        in_flight_per_partition: window,
        batch: 128,
        fetch_ahead_kib: 512,
        ..ConsumerOptions::default()
    };
    let before = resident();
    // Where some partitions have nothing to give, a fetch waits at the broker and the others' next one behind it.
    let mut config = config.clone();
    config.fetch_wait = FETCH_WAIT;
    let beside = topics.contains(&IDLE);
    let group = format!("ladder-{window}-{beside}");
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let (consumer, mut events) =
        GroupConsumer::start(&config, &group, &topics, options, metrics, clients).unwrap();
    let mut held: Vec<VecDeque<i64>> = vec![VecDeque::new(); PARTITIONS];
    while quiet(&mut events, &mut held, Duration::from_secs(3)).await {}
    let (cpu, begun) = (own_cpu_time(), Instant::now());
    tokio::time::sleep(PAUSED).await;
    let idle = (own_cpu_time() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;

    let (mut first, mut all) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        all.push(round(&consumer, &mut events, &mut held, window, &mut first).await);
        while quiet(&mut events, &mut held, REST).await {}
        assert!(held.iter().all(|held| held.len() <= window));
    }
    first.sort_unstable();
    all.sort_unstable();
    let at = |all: &[Duration], q: f64| all[((all.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    // With idle tiers it is the cost of their fetches, which go on.
    let paused = (!beside).then_some("<= 2");
    let beside = if beside { ", idle tiers beside" } else { "" };
    let name = |what: &str| format!("{window} in flight{beside}: {what}");
    report
        .figure(&name("half free to next record p50"), at(&first, 0.5), "ms", None)
        .figure(
            &name("half free to next record p99"),
            at(&first, 0.99),
            "ms",
            Some("<= 100"),
        )
        .figure(&name("half free to next record max"), at(&first, 1.0), "ms", None)
        .figure(
            &name("until every partition has some p50"),
            at(&all, 0.5),
            "ms",
            None,
        )
        .figure(&name("CPU while paused, broker included"), idle, "%", paused)
        .figure(
            &name("memory more than before"),
            (resident() - before) / 1e6,
            "MB",
            None,
        );
    drop(events);
    consumer.close(Duration::from_secs(5)).await.unwrap();
}

/// Frees half of every window and waits until each partition has more. Returns how long that took.
async fn round(
    consumer: &GroupConsumer,
    events: &mut Receiver<Event>,
    held: &mut [VecDeque<i64>],
    window: usize,
    first: &mut Vec<Duration>,
) -> Duration {
    let begun = Instant::now();
    for (partition, held) in held.iter_mut().enumerate() {
        for offset in held.drain(..held.len() - window / 2) {
            consumer.finish(TOPIC, partition as i32, offset);
        }
    }
    let lengths: Vec<_> = held.iter().map(VecDeque::len).collect();
    let mut waits = [true; PARTITIONS];
    while waits.contains(&true) {
        let event = tokio::time::timeout(LONG, events.recv()).await;
        take(event.unwrap().unwrap(), held);
        for (partition, waits) in waits.iter_mut().enumerate() {
            if *waits && held[partition].len() > lengths[partition] {
                *waits = false;
                first.push(begun.elapsed());
            }
        }
    }
    begun.elapsed()
}

fn resident() -> f64 {
    resident_bytes(std::process::id()) as f64
}

/// Takes the next event in; false when none comes for so long.
async fn quiet(events: &mut Receiver<Event>, held: &mut [VecDeque<i64>], wait: Duration) -> bool {
    match tokio::time::timeout(wait, events.recv()).await {
        Ok(event) => take(event.unwrap(), held),
        Err(_) => {
            assert!(!held.iter().any(VecDeque::is_empty));
            return false;
        }
    }
    true
}

fn take(event: Event, held: &mut [VecDeque<i64>]) {
    if let Event::Records(batch) = event {
        for record in batch.records {
            held[record.partition as usize].push_back(record.offset);
        }
    }
}

async fn fill(producer: &Producer) {
    for n in 0..RECORDS {
        let record = Outgoing {
            topic: Arc::from(TOPIC),
            partition: Some((n % PARTITIONS) as i32),
            key: "tenant".into(),
            value: vec![b'x'; BYTES].into(),
            headers: Headers::default(),
        };
        loop {
            match producer.send(record.clone()) {
                Ok(_) => break,
                Err(SendError::QueueFull) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => panic!("{error}"),
            }
        }
    }
    producer.flush(Duration::from_secs(60)).await.unwrap();
}

fn spec(name: &str) -> TopicSpec {
    TopicSpec {
        timestamps: Timestamps::LogAppend,
        name: name.to_owned(),
        partitions: PARTITIONS as u32,
        replication: 1,
        min_in_sync: 1,
        retention: Duration::from_secs(3600),
        max_message_bytes: 1024 * 1024,
    }
}
