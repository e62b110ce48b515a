//! The roles as parts of a process: their settings become their configuration.
//!
//! In: settings and what a role stands on. Out: a running part, and its routes.
//! Always: a role of a cluster and a role inside `up` are made by the same lines.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use carillon_auth::Access;
use carillon_bus::{BusConfig, Producer, RangeReader};
use carillon_chassis::tasks::Tasks;
use carillon_fanout::{Fanout, FanoutConfig, FanoutDeps};
use carillon_ingest::{Ingest, IngestConfig, IngestDeps};
use carillon_router::{ChannelLimits, Router, RouterConfig, RouterDeps};
use carillon_schemas::topics::{Layout, Topics};
use carillon_store::{Fsync as StoreFsync, NotificationStore, PageKey, StoreConfig};

use super::{Part, Process, broker::INTERVAL, part::settle};
use crate::{
    output::Usage,
    settings::{Fsync, Settings},
};

/// The generation of the deliveries topic: it grows when the number of shards changes.
const GENERATION: u16 = 1;

/// How long Kafka's clients may take to end after their owners.
const CLIENTS_END: Duration = Duration::from_secs(2);

/// How this process talks to the Kafka of the settings.
///
/// # Errors
/// A file of the way in that cannot be read.
pub(crate) fn bus_config(settings: &Settings, role: &str) -> Result<BusConfig> {
    let mut config = embedded_bus(settings, &settings.kafka, role);
    config.security = settings.kafka_security.open()?;
    Ok(config)
}

/// How this process talks to a broker of its own.
pub(crate) fn embedded_bus(settings: &Settings, bootstrap: &str, role: &str) -> BusConfig {
    let mut config = BusConfig::new(bootstrap);
    config.client_id = format!("carillon-{role}");
    #[cfg(feature = "seeded-bugs")]
    {
        config.seeded_bug = seeded().and_then(|name| name.parse().ok());
    }
    config.topics = Topics::with_ladder(&settings.topics.prefix, &settings.topics.retry_tiers);
    config
}

/// The bug that this process is to have, in a binary that was built for it.
#[cfg(feature = "seeded-bugs")]
#[allow(
    clippy::disallowed_methods,
    reason = "no setting, so that no release can have one"
)]
fn seeded() -> Option<String> {
    std::env::var("CARILLON_SEEDED_BUG").ok()
}

/// How the topics are laid out, with this many copies where the settings do not say.
pub(crate) fn layout(settings: &Settings, replication: u16) -> Layout {
    let topics = &settings.topics;
    let replication = topics.replication.unwrap_or(replication);
    let base = if replication == 1 {
        Layout::SINGLE
    } else {
        Layout::CLUSTER
    };
    let min_in_sync = if replication < 3 { 1 } else { base.min_in_sync };
    Layout {
        beside: topics.beside,
        notifications: topics.notifications,
        shards: topics.shards.unwrap_or(base.shards),
        dead_letters: topics.dead_letters,
        replication,
        min_in_sync: topics.min_in_sync.unwrap_or(min_in_sync),
    }
}

/// The configured store.
pub(crate) fn store_url(settings: &Settings) -> Result<&str> {
    let none = || {
        Usage(
            "no store: give --store cassandra://HOST:PORT/KEYSPACE, or --store sqlite:PATH, the same for every \
             role on this machine"
                .to_owned(),
        )
    };
    Ok(settings.store.as_deref().ok_or_else(none)?)
}

/// How the store is entered and kept.
///
/// # Errors
/// A file of the way in that cannot be read.
pub(crate) fn store_config(settings: &Settings) -> Result<StoreConfig> {
    Ok(StoreConfig {
        retention: Duration::from_hours(24).saturating_mul(settings.retention_days),
        fsync: match settings.fsync {
            Fsync::Each => StoreFsync::Full,
            Fsync::Interval => StoreFsync::Interval(INTERVAL),
        },
        cassandra: settings.cassandra.open()?,
        ..StoreConfig::default()
    })
}

/// The name of this host.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim())
        .filter(|name| !name.is_empty())
        .unwrap_or("carillon")
        .to_owned()
}

/// The secret of page cursors: the configured one, or `own`.
pub(crate) fn page_key(settings: &Settings, own: impl FnOnce() -> Result<Vec<u8>>) -> Result<PageKey> {
    match &settings.page_secret {
        Some(secret) => Ok(PageKey::new(secret.reveal().as_bytes())),
        None => Ok(PageKey::new(&own()?)),
    }
}

/// Ingest, with the producer that is flushed after its last request.
pub(crate) struct IngestPart {
    pub(crate) ingest: Ingest,
    producer: Producer,
    tasks: Tasks,
    bus_tasks: Tasks,
}

/// Makes ingest and starts its task.
pub(crate) fn start_ingest(
    settings: &Settings,
    process: &Process,
    bus: &BusConfig,
    store: &Arc<dyn NotificationStore>,
    access: &Access,
    page_key: PageKey,
) -> Result<IngestPart> {
    let (tasks, bus_tasks) = (Tasks::new(), Tasks::new());
    let producer = Producer::new(bus, &process.metrics, &bus_tasks)?;
    let topic = &bus.topics.dead_letters;
    let dead_letters = RangeReader::new(bus, topic, 1, &process.metrics, &bus_tasks)?;
    let config = IngestConfig {
        node: host_name(),
        cors_origins: settings.origins.clone(),
        ..IngestConfig::default()
    };
    let deps = IngestDeps {
        metrics: process.metrics.clone(),
        readiness: process.readiness.clone(),
        tasks: tasks.clone(),
        clock: process.clock.clone(),
        store: Arc::clone(store),
        producer: producer.clone(),
        dead_letters,
        access: access.clone(),
        topics: bus.topics.clone(),
        page_key,
    };
    Ok(IngestPart {
        ingest: Ingest::new(config, deps)?,
        producer,
        tasks,
        bus_tasks,
    })
}

impl IngestPart {
    /// After the last request: lets every record out, then ends.
    pub(crate) async fn stop(self, deadline: Duration) -> Result<()> {
        // The audit log puts its last entries into the producer when the tasks end.
        self.tasks.close(deadline).await;
        let flushed = self.producer.flush(deadline).await;
        drop((self.ingest, self.producer));
        settle(&self.bus_tasks, CLIENTS_END).await;
        flushed.context("records were still on their way to Kafka")
    }
}

/// What a role may take for its drain, so that the whole stop ends in time: a third of it.
fn drain(settings: &Settings) -> Duration {
    Duration::from_secs(settings.stop_within_seconds) / 3
}

/// What the channels allow, by tenant and channel.
fn channel_limits(settings: &Settings) -> ChannelLimits {
    let limits = settings.router.channel_limits.iter();
    let limits = limits.map(|limit| {
        let channel = (limit.tenant.clone(), limit.channel.clone());
        (channel, limit.max_bytes.get())
    });
    limits.collect()
}

/// Makes a router and runs it.
pub(crate) fn start_router(
    settings: &Settings,
    process: &Process,
    bus: &BusConfig,
    store: &Arc<dyn NotificationStore>,
    shards: u16,
) -> Result<Part> {
    let node = settings.router.node.clone().unwrap_or_else(host_name);
    let mut config = RouterConfig::new(settings.router.group.clone(), node);
    config.shards = shards;
    config.generation = GENERATION;
    config.channel_limits = channel_limits(settings);
    #[cfg(feature = "seeded-bugs")]
    {
        config.seeded_bug = seeded().and_then(|name| name.parse().ok());
    }
    config.drain = config.drain.min(drain(settings));
    let tasks = Tasks::new();
    let deps = RouterDeps {
        bus: bus.clone(),
        metrics: process.metrics.clone(),
        readiness: process.readiness.clone(),
        clock: process.clock.clone(),
        store: Arc::clone(store),
        tasks: tasks.clone(),
    };
    let router = Router::new(config, deps)?;
    Ok(Part::start("router", process, |stop| async move {
        let outcome = router.run(stop).await;
        settle(&tasks, CLIENTS_END).await;
        Ok(outcome?)
    }))
}

/// Makes a fanout node and runs it; gives it for its routes.
pub(crate) fn start_fanout(
    settings: &Settings,
    process: &Process,
    bus: &BusConfig,
    store: &Arc<dyn NotificationStore>,
    access: &Access,
) -> Result<(Arc<Fanout>, Part)> {
    let defaults = FanoutConfig::default();
    let config = FanoutConfig {
        node: settings.fanout.node.clone().unwrap_or_else(host_name),
        generation: GENERATION,
        origins: settings.origins.clone(),
        drain_timeout: defaults.drain_timeout.min(drain(settings)),
        ..defaults
    };
    let tasks = Tasks::new();
    let deps = FanoutDeps {
        bus: bus.clone(),
        metrics: process.metrics.clone(),
        readiness: process.readiness.clone(),
        clock: process.clock.clone(),
        store: Arc::clone(store),
        access: access.clone(),
        tasks: tasks.clone(),
    };
    let fanout = Arc::new(Fanout::new(config, deps)?);
    let node = Arc::clone(&fanout);
    let part = Part::start("fanout", process, |stop| async move {
        let outcome = node.run(stop).await;
        drop(node);
        settle(&tasks, CLIENTS_END).await;
        Ok(outcome?)
    });
    Ok((fanout, part))
}
