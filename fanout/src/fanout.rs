//! A fanout node: bound from its configuration, served through its routes, run until it is told to stop.
//!
//! In: configuration and dependencies. Out: routes, and work until shutdown.
//! Always: when `run` has returned, no task and no socket of this node is left.

use std::sync::Arc;

use carillon_auth::Access;
use carillon_bus::BusConfig;
use carillon_chassis::{clock::Clock, metrics::Metrics, readiness::Readiness, tasks::Tasks};
use carillon_store::NotificationStore;
use tokio_util::sync::CancellationToken;

use crate::{FanoutConfig, FanoutError};

/// What a node stands on.
pub struct FanoutDeps {
    /// Where Kafka is; its topics hold the name of the deliveries topic.
    pub bus: BusConfig,
    /// Where its figures go.
    pub metrics: Metrics,
    /// Where it says whether it takes sessions: condition `deliveries`.
    pub readiness: Readiness,
    /// What time it is, for the expiry of tokens.
    pub clock: Clock,
    /// Answers `last` n.
    pub store: Arc<dyn NotificationStore>,
    /// How clients are known.
    pub access: Access,
    /// Where its tasks run; they are a child group that `run` closes.
    pub tasks: Tasks,
}

/// A fanout node.
pub struct Fanout {}

impl Fanout {
    /// Makes a node. Nothing is connected before [`Fanout::run`].
    ///
    /// # Errors
    /// [`FanoutError::Config`] for a setting that cannot work, [`FanoutError::Bus`] when no client can be made.
    pub fn new(config: FanoutConfig, _deps: FanoutDeps) -> Result<Self, FanoutError> {
        config.check()?;
        unimplemented!()
    }

    /// `GET /ws`. Connections that come before the node knows where every shard ends wait, then get 503.
    pub fn routes(&self) -> axum::Router {
        unimplemented!()
    }

    /// Works until `shutdown`; then closes every session with 4000 and waits for them, up to the drain timeout.
    ///
    /// # Errors
    /// [`FanoutError::Running`] when called twice. A failing Kafka is retried, never returned.
    pub async fn run(&self, _shutdown: CancellationToken) -> Result<(), FanoutError> {
        unimplemented!()
    }
}
