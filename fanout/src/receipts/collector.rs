//! The collector: what sessions told becomes records of the receipts topic.
//!
//! In: the inbox of [`Receipts`]. Out: records, a tenant's together. Always: one task; it waits for Kafka with
//! the records of nobody else; what Kafka did not take is sent again; what is lost is counted.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use carillon_bus::{Outgoing, Producer, SendError};
use carillon_chassis::backoff::Backoff;
use carillon_schemas::{
    headers::{self, Headers},
    receipt,
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    ACKNOWLEDGED, DELIVERED, EXPIRED, Identity, Receipts, Told,
    book::{Batch, Book, Key, What},
    repeats::Repeats,
};
use crate::{FanoutConfig, ReceiptLimits};

const FIRST_RETRY: Duration = Duration::from_millis(100);
/// How long the last records may take.
const LAST: Duration = Duration::from_millis(1500);
/// One of so many entries is remembered as a repeat.
const REPEATS: usize = 4;

type Flight = BoxFuture<'static, (Batch, Result<(), SendError>)>;

/// The task's state.
pub(crate) struct Collector {
    receipts: Arc<Receipts>,
    producer: Producer,
    topic: Arc<str>,
    node: String,
    limits: ReceiptLimits,
    book: Book,
    repeats: Repeats,
    flights: FuturesUnordered<Flight>,
    backoff: Backoff,
    /// Nothing is sent before: Kafka did not take something a moment ago.
    not_before: Option<Instant>,
}

impl Collector {
    /// A collector that has seen nothing.
    pub(crate) fn new(
        receipts: Arc<Receipts>,
        producer: Producer,
        topic: &str,
        config: &FanoutConfig,
    ) -> Self {
        let limits = config.receipts;
        Self {
            receipts,
            producer,
            topic: topic.into(),
            node: config.node.clone(),
            limits,
            book: Book::new(limits),
            repeats: Repeats::new((limits.entries / REPEATS).max(1)),
            flights: FuturesUnordered::new(),
            backoff: Backoff::new(FIRST_RETRY, config.retry_cap),
            not_before: None,
        }
    }

    /// Collects until `stop`, and then what was told before it.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let receipts = Arc::clone(&self.receipts);
        let mut turn: Pin<Box<Sleep>> = Box::pin(sleep_until(Instant::now()));
        let mut noticed = false;
        loop {
            let idle = self.book.is_empty() && !noticed;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(landed) = self.flights.next() => self.landed(landed),
                () = receipts.some.notified(), if !noticed => {
                    noticed = true;
                    if idle {
                        turn.as_mut().reset(Instant::now() + self.limits.every);
                    }
                }
                () = turn.as_mut(), if !idle => {
                    noticed = false;
                    self.take_over();
                    self.send(false);
                    turn.as_mut().reset(Instant::now() + self.limits.every);
                }
            }
        }
        self.last_words().await;
    }

    /// Takes the inbox into the book.
    fn take_over(&mut self) {
        let inbox = std::mem::take(&mut *self.receipts.inbox.lock()).told;
        let now = Instant::now();
        let mut congested = false;
        for (told, at) in inbox {
            let label = told.as_str();
            let (identity, what, more) = match told {
                Told::Taken(tally) => {
                    let more = tally.fresh.swap(0, Ordering::AcqRel);
                    self.repeats.remember(&tally.identity);
                    (tally.identity.clone(), What::Delivered, more)
                }
                Told::Acknowledged(tenant, id) => {
                    let which = self.repeats.latest(&tenant, id);
                    (Identity { tenant, id, which }, What::Acknowledged, 1)
                }
                Told::Expired(identity) => (identity, What::Expired, 1),
            };
            if !self.book.note(Key { identity, what }, more, at, now) {
                self.receipts.lose(label, more);
                congested |= what == What::Acknowledged;
            }
        }
        self.receipts.congested.store(congested, Ordering::Relaxed);
        self.book.forget(now);
    }

    fn send(&mut self, last: bool) {
        let now = Instant::now();
        if !last && self.not_before.is_some_and(|at| at > now) {
            return;
        }
        for batch in self.book.due(now, last) {
            let flight = match self.produce(&batch) {
                Ok(delivery) => async move { (batch, delivery.await.map(|_| ())) }.boxed(),
                Err(error) => std::future::ready((batch, Err(error))).boxed(),
            };
            self.flights.push(flight);
        }
    }

    fn produce(&self, batch: &Batch) -> Result<carillon_bus::Delivery, SendError> {
        let value = receipt::Receipts {
            tenant_id: batch.tenant.clone(),
            node: self.node.clone(),
            entries: batch.receipts.clone(),
        };
        let value = serde_json::to_vec(&value).map_err(|error| SendError::Refused(error.to_string()))?;
        let mut fields = Headers::with_capacity(2);
        fields.set(headers::TENANT, batch.tenant.as_str().to_owned());
        fields.set(headers::SCHEMA, receipt::SCHEMA);
        self.producer.send(Outgoing {
            topic: Arc::clone(&self.topic),
            partition: None,
            key: batch.tenant.as_str().to_owned().into(),
            value: value.into(),
            headers: fields,
        })
    }

    fn landed(&mut self, (batch, outcome): (Batch, Result<(), SendError>)) {
        let entries = batch.receipts.len() as u64;
        let now = Instant::now();
        self.book.ended(batch, outcome.is_ok(), now);
        match outcome {
            Ok(()) => {
                self.receipts.figures.receipts.inc_by(entries);
                if self.not_before.take().is_some() {
                    self.backoff.reset();
                    info!("receipts are written again");
                }
            }
            Err(error) => {
                if self.not_before.is_none() {
                    warn!(%error, "receipts cannot be written, retrying");
                }
                self.not_before = Some(now + self.backoff.next());
            }
        }
    }

    /// Sends what is there once more and waits a moment for Kafka.
    async fn last_words(mut self) {
        let by = Instant::now() + LAST;
        self.take_over();
        self.send(true);
        while let Ok(Some((batch, outcome))) = tokio::time::timeout_at(by, self.flights.next()).await {
            let written = outcome.is_ok();
            self.landed((batch, outcome));
            if written {
                // What grew while its record was on its way goes behind it.
                self.send(true);
            }
        }
        for (what, count) in self.book.untold().filter(|(_, count)| *count > 0) {
            let label = match what {
                What::Delivered => DELIVERED,
                What::Acknowledged => ACKNOWLEDGED,
                What::Expired => EXPIRED,
            };
            self.receipts.lose(label, count);
        }
    }
}
