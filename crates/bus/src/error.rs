//! Errors: what can go wrong between this process and Kafka, sorted by what the caller does next.
//!
//! In: librdkafka's codes. Out: two closed enums. Always: a record whose fate is unknown is never reported
//! as not sent.

use thiserror::Error;

/// Why a record was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendError {
    /// The producer's own queue is full: shed load. Nothing was sent.
    #[error("the producer's queue is full")]
    QueueFull,
    /// Larger than the broker or this client allows. Nothing was written.
    #[error("the record is too large")]
    TooLarge,
    /// Not written; the same record may succeed later.
    #[error("Kafka is unavailable: {0}")]
    Unavailable(String),
    /// It may have been written: the acknowledgement did not come in time.
    #[error("the outcome is unknown: {0}")]
    OutcomeUnknown(String),
    /// Not written, and never will be as it is: unknown topic or partition, no permission.
    #[error("Kafka refuses the record: {0}")]
    Refused(String),
}

/// Why anything else failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BusError {
    /// librdkafka refuses the configuration, or no thread could be started.
    #[error("the Kafka client could not be made: {0}")]
    Client(String),
    /// Kafka could not be asked, or did not answer in time.
    #[error("Kafka is unavailable: {0}")]
    Unavailable(String),
    /// Kafka answered, and refused.
    #[error("Kafka refuses: {0}")]
    Refused(String),
    /// It did not end before its deadline.
    #[error("{0} did not end in time")]
    DeadlineExceeded(&'static str),
    /// As many requests as are allowed are waiting already.
    #[error("too many reads are waiting")]
    Busy,
    /// This client was closed.
    #[error("the Kafka client is closed")]
    Closed,
}
