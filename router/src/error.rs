//! What ends a router.
//!
//! In: failures that no waiting mends. Out: one of a closed list. Always: trouble of the store or of Kafka
//! while running is not here: it is waited out.

use carillon_bus::BusError;

/// Why a router could not start or did not stop as it should.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// A bound is zero or contradicts another.
    #[error("router configuration: {0}")]
    Config(&'static str),
    /// The client of Kafka could not be made or closed.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The consumer ended by itself.
    #[error("the consumer ended while the router was running")]
    ConsumerEnded,
    /// Work was still in flight at the deadline. It is not lost: its offsets were not committed.
    #[error("{0} records were still in flight when the time to stop was over")]
    StillInFlight(usize),
}
