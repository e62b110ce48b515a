//! What can keep an ingest process from starting.
//!
//! In: its configuration. Out: one closed list.
//! Always: a failing Kafka or store is no error here: requests are answered 503, and readiness says it.

/// Why an ingest process does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// A setting cannot work.
    #[error("configuration: {0}")]
    Config(String),
}
