//! The embedded broker: the Kafka wire protocol over append-only segments, for one machine.
//!
//! In: Kafka clients on loopback. Out: the same answers as a real broker's, for what Carillon and its tools ask.
//! Always: what was acknowledged is on disk (with [`Fsync::Each`]), consumers see only what is, and damage is
//! refused by name, never reset. Deliberately absent: replication, transactions, access control.

mod connection;
mod disk;
mod error;
mod flush;
mod groups;
mod handlers;
mod log;
mod options;
mod producer_ids;
mod protocol;
mod server;
mod stats;
mod topics;

pub use error::BrokerError;
pub use options::{Fsync, Limits, Options};
pub use server::Broker;
pub use stats::Stats;
