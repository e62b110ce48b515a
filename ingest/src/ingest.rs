//! An ingest process: made of its configuration, served through its routes.
//!
//! In: configuration and dependencies. Out: routes, and a task that keeps readiness true to the facts.
//! Always: what it spawns is in the given group of tasks; nothing of it is global.

use std::sync::Arc;

use carillon_auth::Access;
use carillon_bus::Producer;
use carillon_chassis::{clock::Clock, metrics::Metrics, readiness::Readiness, tasks::Tasks};
use carillon_schemas::topics::Topics;
use carillon_store::{NotificationStore, PageKey};

use crate::{IngestConfig, IngestError};

/// What an ingest process stands on.
pub struct IngestDeps {
    /// Where its figures go.
    pub metrics: Metrics,
    /// Where it says whether it takes work: conditions `kafka` and `store`.
    pub readiness: Readiness,
    /// Where its tasks run; they end when the group is shut down.
    pub tasks: Tasks,
    /// What time it is.
    pub clock: Clock,
    /// Answers reads and keeps idempotency keys.
    pub store: Arc<dyn NotificationStore>,
    /// Takes the records. Whoever made it flushes it after the last request.
    pub producer: Producer,
    /// How callers are known.
    pub access: Access,
    /// The names of the topics.
    pub topics: Topics,
    /// Binds page cursors to their tenant; the replicas of a cluster share it.
    pub page_key: PageKey,
}

/// An ingest process.
pub struct Ingest {}

impl Ingest {
    /// Makes it, and starts its task. Needs a tokio runtime; Kafka and the store need not be there yet.
    ///
    /// # Errors
    /// [`IngestError::Config`] for a setting that cannot work.
    pub fn new(config: IngestConfig, _deps: IngestDeps) -> Result<Self, IngestError> {
        config.check()?;
        unimplemented!()
    }

    /// Every route of this room, with the problems of a path or method that is none of them.
    pub fn routes(&self) -> axum::Router {
        unimplemented!()
    }
}
