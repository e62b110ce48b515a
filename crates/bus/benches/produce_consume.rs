//! Produce to consume through the embedded broker, with the product's own client settings.
//!
//! In: nothing. Out: latency from the intended send time at 1,000 records a second, and records a second flat
//! out, for fsync each and interval. Always: every record must arrive.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on should say where"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_broker::{Broker, Fsync, Options};
use carillon_bus::{Admin, BusConfig, Outgoing, Producer, Record, SendError, Tail, TailOptions};
use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use carillon_loadtest::{process::own_cpu_time, report::Report};
use carillon_schemas::{headers::Headers, topics::TopicSpec};
use tokio::sync::mpsc::Receiver;

const TOPIC: &str = "bench";
const RATE: u32 = 1_000;
const LENGTH: Duration = Duration::from_secs(5);
const FLAT_OUT: usize = 500_000;
const BYTES: usize = 200;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut report = Report::new("broker");
    report
        .setting("bytes", BYTES)
        .setting("partitions", 64)
        .setting("records/s", RATE);
    report
        .setting("flat out", FLAT_OUT)
        .setting("client", "in the same process");
    run("fsync each", Fsync::Each, &mut report).await;
    run(
        "fsync interval",
        Fsync::Interval(Duration::from_secs(1)),
        &mut report,
    )
    .await;
    report.finish().unwrap();
}

async fn run(name: &str, fsync: Fsync, report: &mut Report) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.fsync = fsync;
    let broker = Broker::bind(options).await.unwrap();
    let config = BusConfig::new(broker.local_addr().to_string());
    let (tasks, metrics) = (Tasks::new(), Metrics::new());
    let shutdown = tasks.shutdown().clone();
    tasks.spawn("broker", async move { broker.run(shutdown).await.unwrap() });
    let admin = Admin::new(&config, &metrics).unwrap();
    admin.apply(&[spec()]).await.unwrap();
    let clients = Tasks::new();
    let producer = Producer::new(&config, &metrics, &clients).unwrap();
    let from = (0..64).map(|partition| (partition, 0)).collect();
    let (tail, mut records) =
        Tail::start(&config, TOPIC, from, TailOptions::default(), &metrics, &clients).unwrap();
    // The first acknowledgement waits for the producer's id.
    producer.send(record(0, 0)).unwrap().await.unwrap();
    records.recv().await.unwrap();

    let latencies = paced(&producer, &mut records).await;
    let at = |q: f64| latencies[(latencies.len() as f64 * q) as usize].as_secs_f64() * 1e3;
    let targets = if name == "fsync interval" {
        (Some("<= 0.5"), Some("<= 2"))
    } else {
        (None, None)
    };
    report
        .figure(
            &format!("{name}: produce to consume p50"),
            at(0.5),
            "ms",
            targets.0,
        )
        .figure(
            &format!("{name}: produce to consume p99"),
            at(0.99),
            "ms",
            targets.1,
        );
    let (cpu, begun) = (own_cpu_time(), Instant::now());
    flat_out(&producer, &mut records).await;
    let took = begun.elapsed().as_secs_f64();
    let each = (own_cpu_time() - cpu).as_secs_f64() * 1e6 / FLAT_OUT as f64;
    report
        .figure(
            &format!("{name}: flat out"),
            FLAT_OUT as f64 / took,
            "1/s",
            Some(">= 200000"),
        )
        .figure(&format!("{name}: CPU each, clients and broker"), each, "us", None);
    tail.close(Duration::from_secs(5)).await.unwrap();
    clients.close(Duration::from_secs(5)).await;
    tasks.close(Duration::from_secs(5)).await;
}

/// Latencies from the intended send time, sorted.
async fn paced(producer: &Producer, records: &mut Receiver<Vec<Record>>) -> Vec<Duration> {
    let count = RATE * LENGTH.as_secs() as u32;
    let begun = Instant::now();
    let sender = producer.clone();
    let sending = Tasks::new();
    sending.spawn("sender", async move {
        for n in 0..count {
            let due = Duration::from_secs(1) / RATE * n;
            tokio::time::sleep_until((begun + due).into()).await;
            drop(sender.send(record(n as usize, due.as_nanos() as u64)).unwrap());
        }
    });
    let mut latencies = Vec::with_capacity(count as usize);
    while latencies.len() < count as usize {
        for record in records.recv().await.unwrap() {
            let stamp = record
                .value
                .unwrap()
                .first_chunk()
                .copied()
                .map(u64::from_be_bytes)
                .unwrap();
            latencies.push(begun.elapsed().saturating_sub(Duration::from_nanos(stamp)));
        }
    }
    latencies.sort_unstable();
    latencies
}

async fn flat_out(producer: &Producer, records: &mut Receiver<Vec<Record>>) {
    let sender = producer.clone();
    let sending = Tasks::new();
    sending.spawn("sender", async move {
        for n in 0..FLAT_OUT {
            loop {
                match sender.send(record(n, 0)) {
                    Ok(_) => break,
                    Err(SendError::QueueFull) => tokio::time::sleep(Duration::from_millis(1)).await,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    let mut received = 0;
    while received < FLAT_OUT {
        received += records.recv().await.unwrap().len();
    }
}

fn record(n: usize, stamp: u64) -> Outgoing {
    let mut value = vec![b'x'; BYTES];
    value[..8].copy_from_slice(&stamp.to_be_bytes());
    Outgoing {
        topic: Arc::from(TOPIC),
        partition: Some((n % 64) as i32),
        key: "tenant".into(),
        value: value.into(),
        headers: Headers::default(),
    }
}

fn spec() -> TopicSpec {
    TopicSpec {
        timestamps: carillon_schemas::topics::Timestamps::Create,
        name: TOPIC.to_owned(),
        partitions: 64,
        replication: 1,
        min_in_sync: 1,
        retention: Duration::from_secs(3600),
        max_message_bytes: 1024 * 1024,
    }
}
