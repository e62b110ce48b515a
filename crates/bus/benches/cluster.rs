//! The bus on real brokers, beside bare loops in the same run.
//!
//! In: the cluster that `CARILLON_TEST_CLUSTER` describes (one broker or three: two runs). Out: producing with
//! 200 in flight, and one produce → consume hop at a fixed rate from the intended send time, each beside
//! librdkafka alone. Always: without a cluster it says so and measures nothing; every record must arrive.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on should say where"
)]

#[path = "../examples/bare/hops.rs"]
mod hops;
#[path = "../examples/bare/produce.rs"]
mod produce;
#[allow(dead_code, reason = "shared with the loops that have a command line")]
#[path = "../examples/bare/settings.rs"]
mod settings;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_bus::{BusConfig, Outgoing, Producer, Tail, TailOptions};
use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use carillon_loadtest::{process::own_cpu_time, report::Report};
use carillon_schemas::headers::Headers;
use settings::{Settings, quantile};

const PATIENCE: Duration = Duration::from_secs(20);
const WARM_UP: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if std::env::var_os(carillon_fixtures::SHARED).is_none() {
        println!("{} is not set: nothing measured", carillon_fixtures::SHARED);
        return;
    }
    let kafka = carillon_fixtures::shared().kafka.plaintext;
    let brokers = kafka.split(',').count();
    let settings = Settings {
        kafka,
        prefix: "bench-bus".to_owned(),
        partitions: 12,
        replication: brokers.min(3) as i32,
        size: 300,
        length: Duration::from_secs(8),
        in_flight: 200,
        rate: if brokers == 1 { 1_000 } else { 200 },
        linger_ms: 0.0,
        more: Vec::new(),
    };
    let mut report = Report::new(&format!("bus-brokers-{brokers}"));
    report
        .setting("brokers", brokers)
        .setting("bytes", settings.size)
        .setting("partitions", settings.partitions)
        .setting("copies", settings.replication)
        .setting("in flight", settings.in_flight)
        .setting("records/s of the hop", settings.rate);
    produce(&settings, &mut report).await;
    hop(&settings, &mut report).await;
    report.finish().unwrap();
}

async fn produce(settings: &Settings, report: &mut Report) {
    let given = settings.clone();
    let bare = tokio::task::spawn_blocking(move || produce::run(&given).unwrap())
        .await
        .unwrap();
    assert_eq!(bare.errors, 0);
    let topic = topic(settings, "bus-produce").await;
    let name: Arc<str> = topic.name.as_str().into();
    let tasks = Tasks::new();
    let config = BusConfig::new(&settings.kafka);
    let producer = Producer::new(&config, &Metrics::new(), &tasks).unwrap();
    closed_loop(&producer, &name, settings, Duration::from_secs(1)).await;
    let (begun, cpu) = (Instant::now(), own_cpu_time());
    let mut sorted = closed_loop(&producer, &name, settings, settings.length).await;
    let (took, cpu) = (begun.elapsed().as_secs_f64(), own_cpu_time() - cpu);
    sorted.sort_unstable();
    let each = cpu.as_secs_f64() * 1e6 / sorted.len() as f64;
    report
        .beside(
            "produce: rate",
            sorted.len() as f64 / took,
            "1/s",
            bare.rate,
            Some(">= 0.8"),
        )
        .beside("produce: p50", quantile(&sorted, 0.5), "ms", bare.p50_ms, None)
        .beside(
            "produce: p99",
            quantile(&sorted, 0.99),
            "ms",
            bare.p99_ms,
            Some("<= 1.25"),
        )
        .beside("produce: CPU each", each, "us", bare.cpu_us, None);
    drop(producer);
    topic_drop(topic).await;
    tasks.close(PATIENCE).await;
}

async fn topic(settings: &Settings, name: &'static str) -> settings::Topic {
    let settings = settings.clone();
    let made = tokio::task::spawn_blocking(move || settings.create(name).unwrap());
    made.await.unwrap()
}

/// Deleting waits for Kafka on a runtime of its own.
async fn topic_drop(topic: settings::Topic) {
    tokio::task::spawn_blocking(move || drop(topic)).await.unwrap();
}

/// So many senders, each waiting for its acknowledgement before it sends again.
async fn closed_loop(
    producer: &Producer,
    topic: &Arc<str>,
    settings: &Settings,
    length: Duration,
) -> Vec<Duration> {
    let mut senders = tokio::task::JoinSet::new();
    let end = Instant::now() + length;
    for sender in 0..settings.in_flight {
        let (producer, topic, size) = (producer.clone(), Arc::clone(topic), settings.size);
        senders.spawn(async move {
            let mut latencies = Vec::new();
            let mut n = sender;
            while Instant::now() < end {
                let sent = Instant::now();
                producer.send(record(&topic, n, size, 0)).unwrap().await.unwrap();
                latencies.push(sent.elapsed());
                n += 1;
            }
            latencies
        });
    }
    senders.join_all().await.concat()
}

async fn hop(settings: &Settings, report: &mut Report) {
    let given = settings.clone();
    let bare = tokio::task::spawn_blocking(move || hops::run(&given, 1).unwrap())
        .await
        .unwrap();
    assert_eq!(bare.errors, 0);
    let topic = topic(settings, "bus-hop").await;
    let name: Arc<str> = topic.name.as_str().into();
    let (tasks, metrics) = (Tasks::new(), Metrics::new());
    let config = BusConfig::new(&settings.kafka);
    let producer = Producer::new(&config, &metrics, &tasks).unwrap();
    let from = (0..settings.partitions).map(|partition| (partition, 0)).collect();
    let options = TailOptions::default();
    let (tail, mut records) = Tail::start(&config, &name, from, options, &metrics, &tasks).unwrap();
    let count = |length: Duration| (length.as_secs_f64() * f64::from(settings.rate)) as u64;
    let (warm, all) = (count(WARM_UP), count(WARM_UP + settings.length));
    let (begun, rate, size) = (Instant::now(), settings.rate, settings.size);
    let sender = producer.clone();
    // As the bare loop: a thread of its own, which sleeps to the intended time.
    let sending = std::thread::spawn(move || {
        for n in 0..all {
            let due = Duration::from_secs(1).mul_f64(n as f64 / f64::from(rate));
            std::thread::sleep((begun + due).saturating_duration_since(Instant::now()));
            drop(
                sender
                    .send(record(&name, n as usize, size, due.as_nanos() as u64))
                    .unwrap(),
            );
        }
    });
    let mut sorted = Vec::new();
    let mut seen = 0;
    while seen < all {
        let batch = tokio::time::timeout(PATIENCE, records.recv())
            .await
            .unwrap()
            .unwrap();
        for record in batch {
            seen += 1;
            let value = record.value.unwrap();
            let due = Duration::from_nanos(u64::from_be_bytes(*value.first_chunk().unwrap()));
            if due >= WARM_UP {
                sorted.push(begun.elapsed().saturating_sub(due));
            }
        }
    }
    sending.join().unwrap();
    assert_eq!(sorted.len() as u64, all - warm);
    sorted.sort_unstable();
    report
        .beside("hop: p50", quantile(&sorted, 0.5), "ms", bare.p50_ms, None)
        .beside("hop: p99", quantile(&sorted, 0.99), "ms", bare.p99_ms, None);
    drop(records);
    tail.close(PATIENCE).await.unwrap();
    drop(producer);
    topic_drop(topic).await;
    tasks.close(PATIENCE).await;
}

fn record(topic: &Arc<str>, n: usize, size: usize, stamp: u64) -> Outgoing {
    let mut value = vec![b'x'; size];
    value[..8].copy_from_slice(&stamp.to_be_bytes());
    Outgoing {
        topic: Arc::clone(topic),
        partition: None,
        key: format!("tenant-{}", n % 50).into(),
        value: value.into(),
        headers: Headers::default(),
    }
}
