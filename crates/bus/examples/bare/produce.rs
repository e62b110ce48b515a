//! The bare producer: so many records in flight, for so long, and nothing else.
//!
//! In: settings. Out: records a second, latency from `send` to the acknowledgement, CPU. Always: closed loop;
//! one thread sends, another hears of acknowledgements, and nobody spins.

use std::{
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use carillon_loadtest::process::own_cpu_time;
use rdkafka::{
    ClientContext,
    config::FromClientConfigAndContext,
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer},
};

use super::settings::{Failure, Settings, quantile};

/// What came of it.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Produced {
    /// Records a second that were acknowledged.
    pub(crate) rate: f64,
    /// Latencies in milliseconds.
    pub(crate) p50_ms: f64,
    /// The same.
    pub(crate) p99_ms: f64,
    /// Records that were not acknowledged.
    pub(crate) errors: u64,
    /// CPU of this process per record, in microseconds.
    pub(crate) cpu_us: f64,
    /// Records that were acknowledged.
    pub(crate) records: usize,
}

#[derive(Default)]
struct Seen {
    waiting: usize,
    latencies: Vec<Duration>,
    errors: u64,
}

#[derive(Default)]
struct Context {
    seen: Mutex<Seen>,
    acknowledged: Condvar,
}

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Instant>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Instant>) {
        let Ok(mut seen) = self.seen.lock() else { return };
        seen.waiting -= 1;
        match result {
            Ok(_) => seen.latencies.push(sent.elapsed()),
            Err(_) => seen.errors += 1,
        }
        self.acknowledged.notify_one();
    }
}

type Native = ThreadedProducer<Context>;

/// Makes a topic, warms up for a second, measures.
pub(crate) fn run(settings: &Settings) -> Result<Produced, Failure> {
    let topic = settings.create("produce")?;
    let producer = Native::from_config_and_context(&settings.producer(), Context::default())?;
    keep_sending(&producer, settings, &topic.name, Duration::from_secs(1))?;
    if let Ok(mut seen) = producer.context().seen.lock() {
        seen.latencies.clear();
        seen.errors = 0;
    }
    let (begun, cpu) = (Instant::now(), own_cpu_time());
    keep_sending(&producer, settings, &topic.name, settings.length)?;
    let (took, cpu) = (begun.elapsed(), own_cpu_time() - cpu);
    let seen = producer.context().seen.lock().map_err(|e| e.to_string())?;
    let mut sorted = seen.latencies.clone();
    sorted.sort_unstable();
    Ok(Produced {
        rate: sorted.len() as f64 / took.as_secs_f64(),
        p50_ms: quantile(&sorted, 0.5),
        p99_ms: quantile(&sorted, 0.99),
        errors: seen.errors,
        cpu_us: cpu.as_secs_f64() * 1e6 / sorted.len().max(1) as f64,
        records: sorted.len(),
    })
}

/// Sends for so long and waits for the last acknowledgement.
fn keep_sending(
    producer: &Native,
    settings: &Settings,
    topic: &str,
    length: Duration,
) -> Result<(), Failure> {
    let value = vec![b'x'; settings.size];
    let context = producer.context();
    let begun = Instant::now();
    let mut sent = 0u64;
    while begun.elapsed() < length {
        {
            let mut seen = context.seen.lock().map_err(|e| e.to_string())?;
            while seen.waiting >= settings.in_flight {
                seen = context.acknowledged.wait(seen).map_err(|e| e.to_string())?;
            }
            seen.waiting += 1;
        }
        let key = format!("tenant-{}", sent % settings.keys);
        let record = BaseRecord::with_opaque_to(topic, Box::new(Instant::now()))
            .key(&key)
            .payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
        sent += 1;
    }
    producer.flush(Duration::from_secs(20))?;
    Ok(())
}
