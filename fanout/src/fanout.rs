//! A fanout node: bound from its configuration, served through its routes, run until it is told to stop.
//!
//! In: configuration and dependencies. Out: routes, and work until shutdown.
//! Always: when `run` has returned, no task and no socket of this node is left.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use carillon_auth::Access;
use carillon_bus::{Admin, BusConfig, Producer, RangeReader, audit::AuditLog};
use carillon_chassis::{clock::Clock, metrics::Metrics, readiness::Readiness, tasks::Tasks};
use carillon_schemas::close::CloseCode;
use carillon_store::NotificationStore;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    FanoutConfig, FanoutError,
    deliveries::Deliveries,
    edge,
    history::History,
    metrics::RoleMetrics,
    node::Node,
    receipts::{Collector, Receipts},
};

/// How long tasks may take after the last session.
const LAST_TASKS: Duration = Duration::from_secs(2);
/// How long Kafka may take for what the tasks said last.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// What a node stands on.
pub struct FanoutDeps {
    /// Where Kafka is; its topics hold the names of the deliveries, receipts and audit topics.
    pub bus: BusConfig,
    /// Where its figures go.
    pub metrics: Metrics,
    /// Where it says whether it takes sessions: condition `deliveries`.
    pub readiness: Readiness,
    /// What time it is, for the expiry of tokens and notifications.
    pub clock: Clock,
    /// Answers `last` n, and which notification of a collapse key is the latest.
    pub store: Arc<dyn NotificationStore>,
    /// How clients are known.
    pub access: Access,
    /// Where its tasks run: in a child group that `run` closes, but for its readers, which end with the node.
    pub tasks: Tasks,
}

/// A fanout node.
pub struct Fanout {
    node: Arc<Node>,
    deliveries: Deliveries,
    /// Until `run` takes it.
    collector: Mutex<Option<Collector>>,
    /// Of receipts and the audit trail.
    producer: Producer,
}

impl Fanout {
    /// Makes a node. It reads nothing before [`Fanout::run`].
    ///
    /// # Errors
    /// [`FanoutError::Config`] for a setting that cannot work, [`FanoutError::Bus`] when no client can be made.
    pub fn new(config: FanoutConfig, deps: FanoutDeps) -> Result<Self, FanoutError> {
        config.check()?;
        let tasks = deps.tasks.child();
        let figures = Arc::new(RoleMetrics::new(&deps.metrics));
        let topic = &deps.bus.topics.deliveries;
        // Its threads end with the node, after `run`: whoever owns the group sees when they have.
        let (metrics, threads) = (&deps.metrics, config.resume_threads);
        let reader = RangeReader::new(&deps.bus, topic, threads, metrics, &deps.tasks)?;
        let history = History::new(reader, &config, Arc::clone(&figures));
        let (most, clock) = (config.receipts.entries, deps.clock.clone());
        let receipts = Arc::new(Receipts::new(most, clock, Arc::clone(&figures)));
        let producer = Producer::new(&deps.bus, &deps.metrics, &deps.tasks)?;
        let topic = &deps.bus.topics.receipts;
        let collector = Collector::new(Arc::clone(&receipts), producer.clone(), topic, &config);
        let audit = AuditLog::start(
            producer.clone(),
            &deps.bus.topics.audit,
            &config.node,
            deps.clock.clone(),
            &deps.metrics,
            &tasks,
        );
        let deliveries = Deliveries {
            admin: Admin::new(&deps.bus, &deps.metrics)?,
            metrics: deps.metrics,
            tasks: tasks.clone(),
            figures: Arc::clone(&figures),
            receipts: Arc::clone(&receipts),
            clock: deps.clock.clone(),
            condition: deps.readiness.condition("deliveries"),
            reading: AtomicBool::new(false),
            retry_cap: config.retry_cap,
            bus: deps.bus,
        };
        let around = (deps.clock, deps.access, deps.store);
        Ok(Self {
            node: Arc::new(Node::new(
                config,
                figures,
                history,
                (receipts, audit),
                tasks,
                around,
            )),
            deliveries,
            collector: Mutex::new(Some(collector)),
            producer,
        })
    }

    /// `GET /ws`. Connections that come before the node knows where every shard ends wait, then get 503.
    pub fn routes(&self) -> axum::Router {
        edge::routes(Arc::clone(&self.node))
    }

    /// Works until `shutdown`; then closes every session with 4000 and waits for them, up to the drain timeout.
    ///
    /// # Errors
    /// [`FanoutError::Running`] when called twice. A failing Kafka is retried, never returned.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), FanoutError> {
        let collector = self.collector.lock().take().ok_or(FanoutError::Running)?;
        let no_more_receipts = CancellationToken::new();
        let last = no_more_receipts.clone();
        self.node.tasks.spawn("receipts", collector.run(last));
        if let Some(ends) = self.deliveries.ends(&shutdown).await {
            let hub = self.node.open(&ends);
            info!(shards = ends.len(), "taking sessions");
            self.deliveries.run(hub, &shutdown).await;
        }
        self.farewell(&no_more_receipts).await;
        Ok(())
    }

    async fn farewell(&self, no_more_receipts: &CancellationToken) {
        self.node.drain();
        let sessions = self.node.sessions.count();
        self.node.sessions.close_all(CloseCode::Draining);
        let drain = self.node.config.drain_timeout;
        if !self.node.sessions.all_left(drain).await {
            warn!(left = self.node.sessions.count(), "sessions did not end in time");
        }
        // What the last sockets took is told before the end.
        no_more_receipts.cancel();
        let late = self.node.tasks.close(LAST_TASKS).await;
        if !late.is_empty() {
            warn!(tasks = ?late, "tasks did not end in time");
        }
        if let Err(error) = self.producer.flush(LAST_RECORDS).await {
            warn!(%error, "the last receipts and audit entries were not written in time");
        }
        info!(sessions, "drained");
    }
}
