//! The tail: chosen partitions from chosen offsets, without a group.
//!
//! In: a topic and where to begin in each partition. Out: batches of records, over a bounded queue.
//! Always: nothing is committed; a full queue leaves the records on the broker.

use std::{sync::Arc, time::Duration};

use carillon_chassis::{
    metrics::{Counter, Metrics},
    tasks::Tasks,
};
use rdkafka::{
    Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use tokio::sync::mpsc::{self, error::TrySendError};
use tracing::{debug, error};

use crate::{
    BusConfig, BusError, Record, TailOptions,
    client::{Plain, Watch, reader_settings},
    lag::LagOf,
    record::reading::Reading,
    thread::{PollThread, Stop},
};

/// How long a poll waits when nothing comes; also how late a stop is seen.
const IDLE: Duration = Duration::from_millis(50);
/// How often a full queue is looked at.
const LOOK: Duration = Duration::from_micros(500);

/// A reader of chosen partitions. Dropping it ends the reading.
#[derive(Debug)]
pub struct Tail {
    watch: Arc<Watch>,
    thread: PollThread,
}

impl Tail {
    /// Reads from these offsets, for ever. `from` holds (partition, offset).
    pub fn start(
        config: &BusConfig,
        topic: &str,
        from: Vec<(i32, i64)>,
        options: TailOptions,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<(Self, mpsc::Receiver<Vec<Record>>), BusError> {
        let watch = Watch::new(config, metrics, "tail", LagOf::Read, vec![topic.to_owned()]);
        // librdkafka assigns only to a member of a group; this one never joins and never commits.
        let settings = reader_settings(config, "carillon-tail", options.fetch_ahead_kib, options.start)?;
        let consumer = BaseConsumer::from_config_and_context(&settings, Plain(Arc::clone(&watch)))
            .map_err(|e| BusError::sort(&e))?;
        consumer
            .assign(&offsets(topic, &from)?)
            .map_err(|e| BusError::sort(&e))?;
        let (records, receiver) = mpsc::channel(options.queue.div_ceil(options.batch.max(1)).max(2));
        let reader = Reader {
            received: watch.metrics.received.with_label_values(&watch.labels()),
            batch: options.batch.max(1),
            reading: Reading::default(),
            consumer,
            records,
        };
        let watched = Arc::clone(&watch);
        let thread = PollThread::start("bus-tail", watched, Some(tasks), move |stop| reader.run(stop))?;
        Ok((Self { watch, thread }, receiver))
    }

    /// Whether a broker answered and none was lost since.
    pub fn connected(&self) -> bool {
        self.watch.connected()
    }

    /// Why no broker can be reached. None while one can be, or before the first attempt has ended.
    pub fn trouble(&self) -> Option<String> {
        self.watch.trouble()
    }

    /// Ends the reading. Drop the receiver first, or what is in the queue is lost with it.
    pub async fn close(self, deadline: Duration) -> Result<(), BusError> {
        self.thread.close(deadline).await
    }
}

/// A list of partitions of one topic, each with an offset.
pub(crate) fn offsets(topic: &str, from: &[(i32, i64)]) -> Result<TopicPartitionList, BusError> {
    let mut list = TopicPartitionList::with_capacity(from.len());
    for &(partition, offset) in from {
        list.add_partition_offset(topic, partition, Offset::Offset(offset))
            .map_err(|e| BusError::sort(&e))?;
    }
    Ok(list)
}

struct Reader {
    consumer: BaseConsumer<Plain>,
    records: mpsc::Sender<Vec<Record>>,
    batch: usize,
    reading: Reading,
    received: Counter,
}

impl Reader {
    fn run(mut self, stop: &Stop) {
        while !stop.is_set() {
            let Some(records) = self.take_in() else { return };
            if !records.is_empty() && !self.hand_over(records, stop) {
                return;
            }
        }
    }

    /// What is there, up to a batch, after waiting for the first record. None when it cannot go on.
    fn take_in(&mut self) -> Option<Vec<Record>> {
        let mut records = Vec::new();
        let mut wait = IDLE;
        while records.len() < self.batch {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => records.push(self.reading.record(&message)),
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    error!(error = %code, "the kafka reader cannot go on");
                    return None;
                }
                Some(Err(e)) => {
                    debug!(error = %e, "polling failed");
                    break;
                }
                None => break,
            }
            wait = Duration::ZERO;
        }
        let unreadable = std::mem::take(&mut self.reading.unreadable);
        let metrics = &self.consumer.context().0.metrics;
        metrics.unreadable_headers.inc_by(unreadable);
        Some(records)
    }

    /// Waits for room. Without a group, nobody minds that it is not polled meanwhile. False when the owner
    /// is gone.
    fn hand_over(&self, records: Vec<Record>, stop: &Stop) -> bool {
        self.received.inc_by(records.len() as u64);
        let mut records = records;
        while !stop.is_set() {
            match self.records.try_send(records) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(back)) => records = back,
            }
            std::thread::sleep(LOOK);
        }
        false
    }
}
