//! Publishing: a sealed record becomes an acknowledgement, or the reason why there is none.
//!
//! In: a record and the permit that it was admitted with. Out: `Ok` when Kafka has it on all in-sync replicas.
//! Always: a permit is held for as long as its record is in the producer, even when the caller has gone; a
//! record whose fate is unknown is never reported as not sent.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use carillon_bus::{Ack, Delivery, Outgoing, Producer, SendError};
use carillon_chassis::{metrics::Counter, tasks::Tasks};
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    policy::Permit,
    ready::Health,
    refusal::{Busy, Dependency, Refusal},
};

/// How long no broker may be reachable before records are refused unsent. Until then they wait in the producer,
/// as at the start and when a broker restarts.
const A_MOMENT: Duration = Duration::from_secs(1);
const AWAY: &str = "no broker can be reached";

/// Sends records and knows how that fares.
pub(crate) struct Publisher {
    producer: Producer,
    health: Health,
    /// Whether no broker can be reached for longer than a moment.
    away: AtomicBool,
    away_since: Mutex<Option<Instant>>,
    /// Holds at most as many as there are permits, so that it is never full.
    left_over: mpsc::Sender<Waiting>,
    left_over_total: Counter,
}

/// A record that is in the producer, and its permit.
struct Waiting {
    delivery: Delivery,
    _permit: Permit,
}

/// Records whose caller has gone, with room for as many as there are permits.
pub(crate) struct LeftOver(mpsc::Receiver<Waiting>);

impl Publisher {
    /// With the other end for [`LeftOver::wait`].
    pub(crate) fn new(producer: Producer, permits: usize, left_over_total: Counter) -> (Self, LeftOver) {
        let (left_over, receiver) = mpsc::channel(permits);
        let publisher = Self {
            producer,
            health: Health::default(),
            away: AtomicBool::new(false),
            away_since: Mutex::default(),
            left_over,
            left_over_total,
        };
        (publisher, LeftOver(receiver))
    }

    /// Sends a record and waits for Kafka's answer.
    ///
    /// # Errors
    /// The refusal that the failure amounts to.
    pub(crate) async fn publish(
        &self,
        record: Outgoing,
        permit: Permit,
        until: Instant,
    ) -> Result<Ack, Refusal> {
        if self.away.load(Ordering::Relaxed) {
            // Nothing is sent into the void: the caller hears so now and not when the record's time is over.
            return Err(Refusal::Unavailable(Dependency::Kafka, AWAY.to_owned()));
        }
        let delivery = self.producer.send(record).map_err(|e| self.failed(e))?;
        let mut pending = Pending {
            publisher: self,
            waiting: Some(Waiting {
                delivery,
                _permit: permit,
            }),
        };
        match tokio::time::timeout_at(until, pending.answer()).await {
            Ok(Ok(ack)) => {
                self.health.worked();
                Ok(ack)
            }
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => Err(self.failed(SendError::OutcomeUnknown(
                "no answer before the request's deadline".to_owned(),
            ))),
        }
    }

    /// Whether Kafka does its part now; otherwise what is wrong. Asked again and again by one task.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn probe(&self) -> Result<(), String> {
        let mut since = self.away_since.lock();
        if self.producer.connected() {
            if since.take().is_some() {
                // What failed while no broker was there says nothing about the one that is.
                self.health.worked();
                self.away.store(false, Ordering::Relaxed);
            }
            return self.health.trouble().map_or(Ok(()), Err);
        }
        let away = since.get_or_insert_with(Instant::now).elapsed();
        self.away.store(away >= A_MOMENT, Ordering::Relaxed);
        let trouble = self.producer.trouble();
        Err(trouble.map_or(AWAY.to_owned(), |reason| format!("{AWAY}: {reason}")))
    }

    fn failed(&self, error: SendError) -> Refusal {
        let cause = error.to_string();
        let refusal = match error {
            SendError::QueueFull => return Refusal::Overloaded(Busy::Producer),
            SendError::TooLarge => {
                return Refusal::Internal("a record within our limits is too large for Kafka".to_owned());
            }
            SendError::OutcomeUnknown(_) => Refusal::OutcomeUnknown(cause.clone()),
            SendError::Unavailable(_) | SendError::Refused(_) => {
                Refusal::Unavailable(Dependency::Kafka, cause.clone())
            }
        };
        self.health.failed(&cause);
        refusal
    }
}

/// A caller that waits. When it goes away first, its record and permit are left over.
struct Pending<'a> {
    publisher: &'a Publisher,
    waiting: Option<Waiting>,
}

impl Pending<'_> {
    async fn answer(&mut self) -> Result<Ack, SendError> {
        let Some(waiting) = &mut self.waiting else {
            return Err(SendError::OutcomeUnknown("asked twice".to_owned()));
        };
        let answer = (&mut waiting.delivery).await;
        self.waiting = None;
        answer
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.publisher.left_over_total.inc();
            // Full or closed: the permit comes back early, at shutdown only.
            let _ = self.publisher.left_over.try_send(waiting);
        }
    }
}

impl LeftOver {
    /// Waits for the records of callers that have gone. One after the other is enough: each ends within the
    /// producer's time limit, whoever waits.
    pub(crate) async fn wait(mut self, tasks: Tasks) {
        let each = async {
            while let Some(waiting) = self.0.recv().await {
                let _ = waiting.delivery.await;
            }
        };
        tokio::select! {
            () = tasks.shutdown().cancelled() => {}
            () = each => {}
        }
    }
}
