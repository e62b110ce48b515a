//! One thread of bounded reads.
//!
//! In: requests, one at a time. Out: one answer each. Always: between requests nothing is assigned, so an
//! idle reader fetches nothing.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rdkafka::{
    Message,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tracing::{debug, warn};

use crate::{
    BusConfig, BusError, RangePage, StartAt,
    ask::asked,
    client::{Plain, Watch, explain, reader_settings},
    range::Request,
    record::reading::Reading,
    tail::offsets,
    thread::Stop,
};

/// How long a broker may hold a fetch that finds nothing. Short, because the next read's first fetch waits
/// for one that is under way: 100 records take 3 ms so, and 12 ms with a wait of 10. It costs nothing when
/// idle, because nothing is assigned then.
const FETCH_WAIT: Duration = Duration::from_millis(1);
/// How long to wait for a request before librdkafka's own events are looked at.
const IDLE: Duration = Duration::from_millis(50);
/// Bytes fetched ahead, in KiB.
const AHEAD_KIB: u32 = 4 * 1024;

pub(super) struct Worker {
    consumer: BaseConsumer<Plain>,
    topic: String,
    queue: Arc<Mutex<Receiver<Request>>>,
    reading: Reading,
}

/// What ends a pass over a range.
enum Ended {
    /// With this as the offset to go on from.
    At(i64),
    /// The offset was gone when it was fetched: look at the ends again.
    Gone,
}

impl Worker {
    pub(super) fn new(
        config: &BusConfig,
        topic: &str,
        watch: &Arc<Watch>,
        queue: Arc<Mutex<Receiver<Request>>>,
    ) -> Result<Self, BusError> {
        let config = BusConfig {
            fetch_wait: FETCH_WAIT,
            ..config.clone()
        };
        let mut settings = reader_settings(&config, "carillon-range", AHEAD_KIB, StartAt::Earliest)?;
        settings
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true");
        let consumer = BaseConsumer::from_config_and_context(&settings, Plain(Arc::clone(watch)))
            .map_err(|e| BusError::sort(&e))?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
            queue,
            reading: Reading::default(),
        })
    }

    pub(super) fn run(mut self, stop: &Stop) {
        while !stop.is_set() {
            // Another thread may hold the queue, but for no longer than `IDLE`.
            let request = self.queue.lock().recv_timeout(IDLE);
            match request {
                Ok(request) if request.reply.is_closed() => {}
                Ok(request) => {
                    let answer = self.read(&request);
                    let answer = answer.map_err(|e| explain(&self.consumer, e));
                    if request.reply.send(answer).is_err() {
                        debug!("nobody waits for a range any more");
                    }
                }
                Err(RecvTimeoutError::Timeout) => drop(self.consumer.poll(Duration::ZERO)),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn read(&mut self, request: &Request) -> Result<RangePage, BusError> {
        let mut page = RangePage {
            records: Vec::new(),
            next: request.from,
            earliest: request.from,
        };
        if request.from >= request.to {
            page.next = request.to;
            return Ok(page);
        }
        loop {
            let (low, high) = asked(left(request)?, |patience| {
                self.consumer
                    .fetch_watermarks(&self.topic, request.partition, patience)
            })
            .map_err(|e| BusError::sort(&e))?;
            let end = request.to.min(high);
            page.earliest = page.earliest.max(low);
            page.next = page.next.max(low).min(request.to);
            if page.next >= end {
                return Ok(page);
            }
            let pass = self.pass(request, end, &mut page);
            if let Err(e) = self.consumer.unassign() {
                warn!(error = %e, "a range could not be let go");
            }
            match pass? {
                Ended::At(next) => {
                    page.next = next;
                    return Ok(page);
                }
                Ended::Gone => {}
            }
        }
    }

    /// Reads from `page.next` to `end`, which the partition has reached.
    fn pass(&mut self, request: &Request, end: i64, page: &mut RangePage) -> Result<Ended, BusError> {
        let list = offsets(&self.topic, &[(request.partition, page.next)])?;
        self.consumer.assign(&list).map_err(|e| BusError::sort(&e))?;
        let mut bytes = 0;
        loop {
            let wait = match left(request) {
                Ok(wait) => wait,
                Err(_) if !page.records.is_empty() => return Ok(Ended::At(page.next)),
                Err(e) => return Err(e),
            };
            match self.consumer.poll(wait) {
                Some(Ok(message)) if message.offset() >= end => return Ok(Ended::At(end)),
                Some(Ok(message)) => {
                    page.next = message.offset() + 1;
                    bytes += size(&message);
                    page.records.push(self.reading.record(&message));
                    if page.next >= end || bytes >= request.max_bytes {
                        return Ok(Ended::At(page.next));
                    }
                }
                // What is left of the range are holes: the end of the log lies at or behind it.
                Some(Err(KafkaError::PartitionEOF(partition))) if partition == request.partition => {
                    return Ok(Ended::At(end));
                }
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
                ))) => return Ok(Ended::Gone),
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    return Err(BusError::Unavailable(code.to_string()));
                }
                Some(Err(e)) => debug!(error = %e, "polling failed"),
                None => {}
            }
        }
    }
}

fn left(request: &Request) -> Result<Duration, BusError> {
    let left = request.deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(BusError::DeadlineExceeded("reading a range"));
    }
    Ok(left)
}

fn size(message: &BorrowedMessage<'_>) -> usize {
    message.key_len() + message.payload_len()
}
