//! Kafka, concretely: producer, consumers, offsets, provisioning and lag, on librdkafka.
//!
//! In: bytes to send, topics and offsets to read. Out: acknowledgements and records.
//! Always: no type of the Kafka library leaves this crate; every queue has a bound; what librdkafka does
//! on threads of its own is polled on named OS threads here and never on the async ones.

mod ask;
pub mod audit;
mod client;
pub mod config;
pub mod consumer;
pub mod error;
mod lag;
mod metrics;
#[cfg(feature = "mock")]
pub mod mock;
pub mod offsets;
pub mod producer;
pub mod provision;
pub mod range;
pub mod record;
pub mod security;
#[cfg(feature = "seeded-bugs")]
pub mod seeded;
pub mod tail;
mod thread;

pub use audit::{AuditEvent, AuditLog};
pub use config::{BusConfig, ConsumerOptions, StartAt, TailOptions};
pub use consumer::{Batch, Event, Follower, GroupConsumer, Handle};
pub use error::{BusError, SendError};
pub use producer::{Delivery, Producer};
pub use provision::{Admin, Change};
pub use range::{RangePage, RangeReader};
pub use record::{Ack, Outgoing, Record, TopicPartition};
pub use security::{ClientCertificate, Mechanism, Protocol, Sasl, Security};
pub use tail::Tail;
