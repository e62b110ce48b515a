//! Bare hops: produce → consume, one after the other, at a fixed rate.
//!
//! In: settings. Out: latency from the intended send time of the first hop to the arrival at the last.
//! Always: open loop, so that a stall is seen by every record that should have been sent meanwhile; each hop
//! is a producer and a consumer of its own on a thread of its own.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use carillon_loadtest::process::own_cpu_time;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    config::FromClientConfig,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

use super::settings::{Failure, Settings, Topic, quantile};

/// How long the last records are waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of it.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Hopped {
    /// Produce → consume pairs in a row.
    pub(crate) hops: usize,
    /// Records a second that were intended.
    pub(crate) rate: u32,
    /// Latencies in milliseconds, from the intended send time.
    pub(crate) p50_ms: f64,
    /// The same.
    pub(crate) p99_ms: f64,
    /// The largest.
    pub(crate) max_ms: f64,
    /// Records that did not arrive.
    pub(crate) errors: u64,
    /// CPU of this process per record, in microseconds.
    pub(crate) cpu_us: f64,
    /// Records that arrived.
    pub(crate) records: usize,
}

type Native = ThreadedProducer<DefaultProducerContext>;

/// Makes a topic per hop, warms up, measures.
pub(crate) fn run(settings: &Settings, hops: usize) -> Result<Hopped, Failure> {
    let topics = (0..hops).map(|n| settings.create(&format!("hop-{n}")));
    let topics: Vec<Topic> = topics.collect::<Result<_, _>>()?;
    let readers = topics.iter().map(|topic| reader(settings, topic));
    let mut readers: Vec<BaseConsumer> = readers.collect::<Result<_, _>>()?;
    let last = readers.pop().ok_or("at least one hop")?;
    let warm = (settings.warm_up.as_secs_f64() * f64::from(settings.rate)) as u64;
    let count = (settings.length.as_secs_f64() * f64::from(settings.rate)) as u64;
    let (done, lost) = (AtomicBool::new(false), AtomicU64::new(0));
    let (begun, cpu) = (Instant::now(), own_cpu_time());
    let mut sorted = std::thread::scope(|threads| -> Result<Vec<Duration>, Failure> {
        for (reader, to) in readers.iter().zip(&topics[1..]) {
            let producer = Native::from_config(&settings.producer())?;
            let (done, lost) = (&done, &lost);
            threads.spawn(move || relay(reader, &producer, &to.name, done, lost));
        }
        let producer = Native::from_config(&settings.producer())?;
        let first = &topics[0].name;
        let lost_here = &lost;
        threads.spawn(move || send(settings, &producer, first, (begun, warm + count), lost_here));
        let latencies = arrivals(&last, begun, warm, count);
        done.store(true, Ordering::Relaxed);
        Ok(latencies)
    })?;
    let cpu = own_cpu_time() - cpu;
    sorted.sort_unstable();
    Ok(Hopped {
        hops,
        rate: settings.rate,
        p50_ms: quantile(&sorted, 0.5),
        p99_ms: quantile(&sorted, 0.99),
        max_ms: quantile(&sorted, 1.0),
        errors: lost.load(Ordering::Relaxed) + count - sorted.len() as u64,
        cpu_us: cpu.as_secs_f64() * 1e6 / (warm + count).max(1) as f64,
        records: sorted.len(),
    })
}

fn reader(settings: &Settings, topic: &Topic) -> Result<BaseConsumer, Failure> {
    let consumer = BaseConsumer::from_config(&settings.consumer())?;
    let mut list = TopicPartitionList::new();
    for partition in 0..settings.partitions {
        list.add_partition_offset(&topic.name, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

/// A value begins with its number and its intended send time, in nanoseconds after the beginning.
fn send(
    settings: &Settings,
    producer: &Native,
    topic: &str,
    (begun, count): (Instant, u64),
    lost: &AtomicU64,
) {
    let mut value = vec![b'x'; settings.size.max(16)];
    for n in 0..count {
        let due = Duration::from_secs(1).mul_f64(n as f64 / f64::from(settings.rate));
        std::thread::sleep((begun + due).saturating_duration_since(Instant::now()));
        value[..8].copy_from_slice(&n.to_be_bytes());
        value[8..16].copy_from_slice(&(due.as_nanos() as u64).to_be_bytes());
        let key = format!("tenant-{}", n % settings.keys);
        if producer
            .send(BaseRecord::to(topic).key(&key).payload(&value))
            .is_err()
        {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }
    // Dropping the producer would drop what is not acknowledged yet.
    if producer.flush(PATIENCE).is_err() {
        lost.fetch_add(1, Ordering::Relaxed);
    }
}

fn relay(reader: &BaseConsumer, producer: &Native, topic: &str, done: &AtomicBool, lost: &AtomicU64) {
    while !done.load(Ordering::Relaxed) {
        let Some(Ok(message)) = reader.poll(Duration::from_millis(50)) else {
            continue;
        };
        let (Some(key), Some(value)) = (message.key(), message.payload()) else {
            continue;
        };
        if producer
            .send(BaseRecord::to(topic).key(key).payload(value))
            .is_err()
        {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn arrivals(last: &BaseConsumer, begun: Instant, warm: u64, count: u64) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let mut heard = Instant::now();
    while (latencies.len() as u64) < count && heard.elapsed() < PATIENCE {
        let Some(Ok(message)) = last.poll(Duration::from_millis(50)) else {
            continue;
        };
        heard = Instant::now();
        let Some((n, due)) = message.payload().and_then(stamps) else {
            continue;
        };
        if n >= warm {
            latencies.push(begun.elapsed().saturating_sub(due));
        }
    }
    latencies
}

fn stamps(value: &[u8]) -> Option<(u64, Duration)> {
    let (n, rest) = value.split_first_chunk()?;
    let due = rest.first_chunk()?;
    Some((
        u64::from_be_bytes(*n),
        Duration::from_nanos(u64::from_be_bytes(*due)),
    ))
}
