//! What can keep a fanout node from working.
//!
//! In: errors of its configuration and its bus. Out: one closed list.
//! Always: a failing Kafka is no error here: the node retries and says so in its readiness.

use carillon_bus::BusError;

/// Why a fanout node does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum FanoutError {
    /// A setting cannot work.
    #[error("configuration: {0}")]
    Config(String),
    /// A Kafka client could not be made.
    #[error("Kafka client: {0}")]
    Bus(#[from] BusError),
    /// `run` was called twice.
    #[error("the node is already running")]
    Running,
}
