//! What sending costs: latency and CPU per record, by linger and rate.
//!
//! In: the embedded broker in the same process, fsync in the background. Out: a table on stdout: latency from
//! the intended send time to the acknowledgement, and CPU of librdkafka's and the bus's threads per record.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on fails"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use carillon_broker::{Broker, Fsync, Options};
use carillon_bus::{Admin, BusConfig, Outgoing, Producer};
use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use carillon_schemas::{headers, topics::TopicSpec};

const TOPIC: &str = "bench";
const RUN: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.fsync = Fsync::Interval(Duration::from_millis(200));
    let broker = Broker::bind(options).await.unwrap();
    let (tasks, address) = (Tasks::new(), broker.local_addr().to_string());
    let shutdown = tasks.shutdown().clone();
    tasks.spawn("broker", async move { broker.run(shutdown).await.unwrap() });
    let admin = Admin::new(&BusConfig::new(&address), &Metrics::new()).unwrap();
    admin.apply(&[spec()]).await.unwrap();
    first(&BusConfig::new(&address)).await;
    println!("linger  rate/s  sent    p50 ms  p99 ms  CPU us/record (librdkafka, poll thread)");
    for linger in [0, 200, 500, 1000, 5000] {
        for rate in [1_000, 10_000, 0] {
            let mut config = BusConfig::new(&address);
            config.linger = Duration::from_micros(linger);
            run(&config, rate).await;
        }
    }
    tasks.close(Duration::from_secs(5)).await;
}

fn spec() -> TopicSpec {
    TopicSpec {
        timestamps: carillon_schemas::topics::Timestamps::Create,
        name: TOPIC.to_owned(),
        partitions: 12,
        replication: 1,
        min_in_sync: 1,
        retention: Duration::from_secs(3600),
        max_message_bytes: 1024 * 1024,
    }
}

/// From nothing to the first acknowledgement: what a process pays once at its start.
async fn first(config: &BusConfig) {
    let begun = Instant::now();
    let producer = Producer::new(config, &Metrics::new(), &Tasks::new()).unwrap();
    producer.send(record(&TOPIC.into(), 0)).unwrap().await.unwrap();
    println!(
        "first acknowledgement after {:.1} ms",
        begun.elapsed().as_secs_f64() * 1e3
    );
}

/// Open loop at a rate; 0 is as fast as 2,000 in flight allow.
async fn run(config: &BusConfig, rate: u64) {
    let tasks = Tasks::new();
    let producer = Producer::new(config, &Metrics::new(), &tasks).unwrap();
    let topic: Arc<str> = TOPIC.into();
    for n in 0..12 {
        producer.send(record(&topic, n)).unwrap().await.unwrap();
    }
    let (begun, before) = (Instant::now(), cpu());
    let (mut waits, mut sent) = (tokio::task::JoinSet::new(), 0u64);
    let mut latencies = Vec::new();
    while begun.elapsed() < RUN {
        let intended = match rate {
            0 => Instant::now(),
            rate => begun + Duration::from_micros(sent * 1_000_000 / rate),
        };
        if let Some(ahead) = intended.checked_duration_since(Instant::now()) {
            // Timers have a millisecond's grain: what fell due meanwhile is sent at once.
            tokio::time::sleep(ahead).await;
        }
        while waits.len() >= 2_000 {
            latencies.push(waits.join_next().await.unwrap().unwrap());
        }
        let delivery = producer.send(record(&topic, sent)).unwrap();
        sent += 1;
        waits.spawn(async move {
            delivery.await.unwrap();
            intended.elapsed()
        });
        while let Some(done) = waits.try_join_next() {
            latencies.push(done.unwrap());
        }
    }
    latencies.extend(waits.join_all().await);
    let took = begun.elapsed();
    let after = cpu();
    latencies.sort_unstable();
    let at = |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    let per = |a: f64, b: f64| (a - b) * 1e6 / sent as f64;
    println!(
        "{:>6.1}  {:>6}  {:>6.0}  {:>6.2}  {:>6.2}  {:>5.1}  {:>5.1}",
        config.linger.as_secs_f64() * 1e3,
        rate,
        sent as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.99),
        per(after.0, before.0),
        per(after.1, before.1)
    );
    drop(producer);
    tasks.close(Duration::from_secs(5)).await;
}

fn record(topic: &Arc<str>, n: u64) -> Outgoing {
    let mut headers = headers::Headers::with_capacity(3);
    headers.set(headers::TENANT, "acme");
    headers.set(headers::ID, "0192f0c1-2f3a-7bbb-8ccc-0123456789ab");
    headers.set(headers::SCHEMA, "envelope/1");
    Outgoing {
        topic: Arc::clone(topic),
        partition: None,
        key: Bytes::from(format!("tenant-{}", n % 50)),
        value: Bytes::from_static(&[b'x'; 300]),
        headers,
    }
}

/// CPU seconds so far of threads named `rdk:…`, and of those named `bus-producer`, dead ones left out.
fn cpu() -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let run = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let seconds = run
            .split(' ')
            .next()
            .and_then(|n| n.parse::<f64>().ok())
            .unwrap_or(0.0)
            / 1e9;
        if name.starts_with("rdk:") {
            sums.0 += seconds;
        } else if name.starts_with("bus-producer") {
            sums.1 += seconds;
        }
    }
    sums
}
