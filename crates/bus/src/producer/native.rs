//! The librdkafka producer: its settings, its callbacks, and how a record is given to it.
//!
//! In: records and their slots. Out: every slot filled exactly once, on the poll thread.
//! Always: idempotent, acknowledged by all in-sync replicas, with queues that have a bound.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use carillon_schemas::topics::DEAD_LETTER_BYTES;
use rdkafka::{
    ClientContext, Message,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext},
};
use tokio::sync::Notify;

use crate::{
    Ack, BusConfig, BusError, Outgoing, SendError,
    client::{Watch, millis, settings},
    producer::delivery::Slot,
};

pub(crate) type Native = BaseProducer<Callbacks>;

/// Records that are not yet acknowledged, over all librdkafka producers that stand behind one of ours.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    pub(crate) idle: Notify,
}

impl InFlight {
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn started(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    fn ended(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.idle.notify_waiters();
        }
    }
}

pub(crate) struct Callbacks {
    watch: Arc<Watch>,
    /// The binding tells each error of a producer twice in a row; the second is left out.
    again: AtomicBool,
    in_flight: Arc<InFlight>,
    acknowledged: carillon_chassis::metrics::Counter,
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.watch.log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.watch.statistics(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if !self.again.fetch_xor(true, Ordering::Relaxed) {
            self.watch.error(&error, reason);
        }
    }
}

impl ProducerContext for Callbacks {
    type DeliveryOpaque = Arc<Slot>;

    fn delivery(&self, result: &DeliveryResult<'_>, slot: Arc<Slot>) {
        self.in_flight.ended();
        slot.put(match result {
            // A repetition that the broker recognised, without remembering where the first one stands.
            Ok(message) if message.offset() < 0 => Err(SendError::OutcomeUnknown(
                "written, but nobody knows where".to_owned(),
            )),
            Ok(message) => {
                self.acknowledged.inc();
                self.watch.up();
                Ok(Ack {
                    partition: message.partition(),
                    offset: message.offset(),
                })
            }
            Err((error, _)) => Err(refused(&self.watch, error)),
        });
    }
}

fn refused(watch: &Watch, error: &KafkaError) -> SendError {
    let sorted = SendError::sort(error);
    let labels = watch.labels_and(sorted.class());
    watch.metrics.sends.with_label_values(&labels).inc();
    match (sorted, watch.trouble()) {
        (SendError::Unavailable(text), Some(why)) => SendError::Unavailable(format!("{text}: {why}")),
        (SendError::OutcomeUnknown(text), Some(why)) => SendError::OutcomeUnknown(format!("{text}: {why}")),
        (sorted, _) => sorted,
    }
}

/// Makes a producer.
pub(crate) fn make(
    config: &BusConfig,
    watch: &Arc<Watch>,
    in_flight: &Arc<InFlight>,
) -> Result<Native, BusError> {
    let request = config.request_deadline.min(config.message_timeout);
    let mut settings = settings(config)?;
    settings
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        .set("partitioner", "murmur2_random")
        // One record; batches stay below `batch.size` (1,000,000), which every topic takes.
        .set("message.max.bytes", DEAD_LETTER_BYTES.to_string())
        .set(
            "linger.ms",
            (config.linger.as_micros() as f64 / 1000.0).to_string(),
        )
        .set("message.timeout.ms", millis(config.message_timeout))
        .set(
            "request.timeout.ms",
            millis(request.max(Duration::from_millis(1))),
        )
        .set(
            "queue.buffering.max.messages",
            config.producer_records.to_string(),
        )
        .set("queue.buffering.max.kbytes", config.producer_kib.to_string());
    let callbacks = Callbacks {
        watch: Arc::clone(watch),
        again: AtomicBool::new(false),
        in_flight: Arc::clone(in_flight),
        acknowledged: watch
            .metrics
            .sends
            .with_label_values(&watch.labels_and("acknowledged")),
    };
    Native::from_config_and_context(&settings, callbacks).map_err(|e| BusError::sort(&e))
}

/// Gives a record to librdkafka, which copies it.
pub(crate) fn send(
    native: &Native,
    watch: &Watch,
    in_flight: &InFlight,
    outgoing: &Outgoing,
) -> Result<Arc<Slot>, SendError> {
    let slot = Arc::new(Slot::default());
    let mut record = BaseRecord::with_opaque_to(&outgoing.topic, Arc::clone(&slot))
        .key(&*outgoing.key)
        .payload(&*outgoing.value);
    record.partition = outgoing.partition;
    if !outgoing.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(outgoing.headers.len());
        for (key, value) in outgoing.headers.iter() {
            headers = headers.insert(Header {
                key,
                value: Some(&**value),
            });
        }
        record.headers = Some(headers);
    }
    // Counted before: the acknowledgement may come before this function returns.
    in_flight.started();
    match native.send(record) {
        Ok(()) => Ok(slot),
        Err((error, _)) => {
            in_flight.ended();
            Err(refused(watch, &error))
        }
    }
}
