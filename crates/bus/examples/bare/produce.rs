//! The bare producer: so many records in flight, for so long, and nothing else.
//!
//! In: settings. Out: records a second, latency from `send` to the acknowledgement, CPU. Always: closed loop;
//! one thread sends and polls.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use carillon_loadtest::process::own_cpu_time;
use rdkafka::{
    ClientContext,
    config::FromClientConfigAndContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
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
struct Context(Mutex<Seen>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Instant>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Instant>) {
        let Ok(mut seen) = self.0.lock() else { return };
        seen.waiting -= 1;
        match result {
            Ok(_) => seen.latencies.push(sent.elapsed()),
            Err(_) => seen.errors += 1,
        }
    }
}

/// Makes a topic, warms up for a second, measures.
pub(crate) fn run(settings: &Settings) -> Result<Produced, Failure> {
    let topic = settings.create("produce")?;
    let producer: BaseProducer<Context> =
        BaseProducer::from_config_and_context(&settings.producer(), Context::default())?;
    keep_sending(&producer, settings, &topic.name, Duration::from_secs(1))?;
    forget(&producer);
    let (begun, cpu) = (Instant::now(), own_cpu_time());
    keep_sending(&producer, settings, &topic.name, settings.length)?;
    let (took, cpu) = (begun.elapsed(), own_cpu_time() - cpu);
    let seen = producer.context().0.lock().map_err(|e| e.to_string())?;
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

fn forget(producer: &BaseProducer<Context>) {
    if let Ok(mut seen) = producer.context().0.lock() {
        seen.latencies.clear();
        seen.errors = 0;
    }
}

/// Sends for so long and waits for the last acknowledgement.
fn keep_sending(
    producer: &BaseProducer<Context>,
    settings: &Settings,
    topic: &str,
    length: Duration,
) -> Result<(), Failure> {
    let value = vec![b'x'; settings.size];
    let waiting = || {
        producer
            .context()
            .0
            .lock()
            .map_or(usize::MAX, |seen| seen.waiting)
    };
    let begun = Instant::now();
    let mut sent = 0u64;
    while begun.elapsed() < length {
        while waiting() < settings.in_flight {
            let key = format!("tenant-{}", sent % 50);
            let record = BaseRecord::with_opaque_to(topic, Box::new(Instant::now()))
                .key(&key)
                .payload(&value);
            match producer.send(record) {
                Ok(()) => sent += 1,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((error, _)) => return Err(error.into()),
            }
            producer.context().0.lock().map_err(|e| e.to_string())?.waiting += 1;
        }
        // Until the first acknowledgement, and then what else is there.
        producer.poll(Duration::from_micros(500));
    }
    producer.flush(Duration::from_secs(20))?;
    Ok(())
}
