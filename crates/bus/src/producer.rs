//! The producer: idempotent, acknowledged by all in-sync replicas, never waiting.
//!
//! In: records. Out: a future per record with its acknowledgement. Always: a full queue is an error at once.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use carillon_chassis::{metrics::Metrics, tasks::Tasks};

use crate::{Ack, BusConfig, BusError, Outgoing, SendError};

/// A producer, cheap to clone. It ends with its last clone; what is unacknowledged then is lost, so
/// [`Producer::flush`] first.
#[derive(Clone, Debug)]
pub struct Producer {}

/// The acknowledgement of one record. Dropping it does not take the record back.
#[derive(Debug)]
pub struct Delivery {}

impl Future for Delivery {
    type Output = Result<Ack, SendError>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Self::Output> {
        unimplemented!()
    }
}

impl Producer {
    /// Starts a producer. Kafka need not be there yet.
    pub fn new(_config: &BusConfig, _metrics: &Metrics, _tasks: &Tasks) -> Result<Self, BusError> {
        unimplemented!()
    }

    /// Queues a record. It ends within the configured `message_timeout`, with an acknowledgement or not.
    pub fn send(&self, _record: Outgoing) -> Result<Delivery, SendError> {
        unimplemented!()
    }

    /// How many records are not yet acknowledged.
    pub fn in_flight(&self) -> usize {
        unimplemented!()
    }

    /// Waits until nothing is in flight.
    pub async fn flush(&self, _deadline: Duration) -> Result<(), BusError> {
        unimplemented!()
    }

    /// Whether a broker answered and none was lost since.
    pub fn connected(&self) -> bool {
        unimplemented!()
    }
}
