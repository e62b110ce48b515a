//! An ingest process: made of its configuration, served through its routes.
//!
//! In: configuration and dependencies. Out: routes, and tasks that keep readiness true to the facts.
//! Always: what it spawns is in the given group of tasks; nothing of it is global.

use std::{future::ready, sync::Arc};

use carillon_auth::Access;
use carillon_bus::{AuditLog, Producer, RangeReader};
use carillon_chassis::{clock::Clock, metrics::Metrics, readiness::Readiness, tasks::Tasks};
use carillon_schemas::topics::Topics;
use carillon_store::{NotificationStore, PageKey};

use crate::{
    IngestConfig, IngestError, http,
    meters::Meters,
    policy::{Keys, Limits, Policy},
    publish::Publisher,
    ready::Watched,
    store::Store,
};

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
    /// Takes the records. Whoever made it flushes it after the last request and the end of the tasks.
    pub producer: Producer,
    /// Reads the dead-letter topic.
    pub dead_letters: RangeReader,
    /// How callers are known.
    pub access: Access,
    /// The names of the topics.
    pub topics: Topics,
    /// Binds page cursors to their tenant; the replicas of a cluster share it.
    pub page_key: PageKey,
}

/// An ingest process.
pub struct Ingest {
    room: Arc<Room>,
}

/// What every request finds.
pub(crate) struct Room {
    pub(crate) config: IngestConfig,
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) policy: Policy,
    pub(crate) publisher: Publisher,
    /// The name of the notifications topic.
    pub(crate) topic: Arc<str>,
    /// The name of the commands topic.
    pub(crate) commands: Arc<str>,
    /// Reads the dead-letter topic.
    pub(crate) dead_letters: RangeReader,
    pub(crate) audit: AuditLog,
    pub(crate) page_key: PageKey,
    pub(crate) meters: Meters,
}

impl Ingest {
    /// Makes it, and starts its tasks. Needs a tokio runtime; Kafka and the store need not be there yet.
    ///
    /// # Errors
    /// [`IngestError::Config`] for a setting that cannot work.
    pub fn new(config: IngestConfig, deps: IngestDeps) -> Result<Self, IngestError> {
        config.check()?;
        let meters = Meters::new(&deps.metrics);
        let store = Store::new(deps.store, config.store_deadline);
        let limits = Limits::new(config.load(), config.tenant_load(), meters.in_flight.clone());
        let keys = Keys::new(store.clone(), config.remembered);
        let audit = AuditLog::start(
            deps.producer.clone(),
            &deps.topics.audit,
            &config.node,
            deps.clock.clone(),
            &deps.metrics,
            &deps.tasks,
        );
        let (publisher, left_over) =
            Publisher::new(deps.producer, config.in_flight, meters.left_over.clone());
        let room = Arc::new(Room {
            policy: Policy::new(limits, keys, deps.clock.clone(), &meters),
            access: deps.access,
            clock: deps.clock,
            store,
            publisher,
            topic: Arc::from(deps.topics.notifications),
            commands: Arc::from(deps.topics.commands),
            dead_letters: deps.dead_letters,
            audit,
            page_key: deps.page_key,
            meters,
            config,
        });
        deps.tasks
            .spawn("ingest left over", left_over.wait(deps.tasks.clone()));
        watch(&room, &deps.readiness, &deps.tasks);
        Ok(Self { room })
    }

    /// Every route of this room, with the problems of a path or method that is none of them. Its fallback
    /// answers for the routers that it is merged with, too.
    pub fn routes(&self) -> axum::Router {
        http::routes(&self.room)
    }
}

/// Keeps the conditions `kafka` and `store` true to the facts.
fn watch(room: &Arc<Room>, readiness: &Readiness, tasks: &Tasks) {
    let watched = |name| Watched {
        name,
        condition: readiness.condition(name),
        every: room.config.probe_every,
    };
    let (kafka, store) = (Arc::clone(room), Arc::clone(room));
    let kafka = watched("kafka").keep(tasks.clone(), move || ready(kafka.publisher.probe()));
    tasks.spawn("ingest kafka probe", kafka);
    let probe = move || {
        let store = store.store.clone();
        async move { store.probe().await }
    };
    tasks.spawn("ingest store probe", watched("store").keep(tasks.clone(), probe));
}
