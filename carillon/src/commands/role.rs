//! What the role commands have in common: settings, logs, a store, an admin port, a stop in order.
//!
//! In: a role's flags. Out: a prepared process, and its end. Always: ports are taken before any work; the
//! admin port answers until the role has stopped.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use carillon_bus::{Admin, BusConfig};
use carillon_chassis::{admin, backoff::Backoff, readiness::Condition, tasks::Tasks};
use carillon_store::NotificationStore;
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::{
    output::Usage,
    settings::{AuthFlags, ConfigFlags, KafkaFlags, Pairs, Settings, StoreFlags, load},
    stack::{Process, bind, install_telemetry, open_store, require_loopback, resolve, serve},
};

/// Scopes of a token that names none, in a cluster.
pub(crate) const SCOPES: &str = "publish read listen";

/// Flags of a role that serves clients, beside where it listens.
#[derive(Debug, clap::Args)]
pub(crate) struct Serving {
    #[command(flatten)]
    kafka: KafkaFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    auth: AuthFlags,
    #[command(flatten)]
    config: ConfigFlags,
}

impl Serving {
    /// A prepared role and its port; `--no-auth` is refused here for any address but loopback.
    pub(crate) async fn bind(
        self,
        name: &'static str,
        listen: Option<String>,
        default: &str,
    ) -> Result<(Role, TcpListener, SocketAddr)> {
        let mut pairs = Pairs::default();
        pairs.text("listen", listen.as_ref());
        self.kafka.push(&mut pairs);
        self.store.push(&mut pairs);
        self.auth.push(&mut pairs);
        let role = Role::prepare(name, &self.config, pairs).await?;
        let listen = role.settings.listen.as_deref().unwrap_or(default);
        let (listener, address) = bind("--listen", resolve("--listen", listen)?).await?;
        require_loopback(&role.settings, address)?;
        Ok((role, listener, address))
    }
}

/// A role's process before its role.
pub(crate) struct Role {
    pub(crate) settings: Settings,
    pub(crate) process: Process,
    pub(crate) bus: BusConfig,
    pub(crate) store: Arc<dyn NotificationStore>,
    /// Unmet until the role is made and has conditions of its own.
    pub(crate) starting: Condition,
    admin: Tasks,
}

impl Role {
    /// Settings, logs, signals, the admin port, the store.
    pub(crate) async fn prepare(name: &'static str, config: &ConfigFlags, pairs: Pairs) -> Result<Self> {
        let settings = load(config, pairs)?.settings;
        install_telemetry(&settings, "info")?;
        let url = settings.store.clone().ok_or_else(|| {
            Usage("no store: give --store sqlite:PATH, the same for every role on this machine".to_owned())
        })?;
        let process = Process::new();
        process.watch_signals()?;
        let starting = process.readiness.condition("role");
        let address = resolve("--admin-listen", &settings.admin_listen)?;
        let (listener, address) = bind("--admin-listen", address).await?;
        let admin = serve(listener, admin::routes(&process.readiness, &process.metrics));
        let store = open_store(&url, &settings, &process).await?;
        let bus = crate::stack::bus_config(&settings, &settings.kafka, name);
        info!(role = name, admin = %address, kafka = settings.kafka, "role starts");
        Ok(Self {
            settings,
            process,
            bus,
            store,
            starting,
            admin,
        })
    }

    /// How long the stop may take.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.settings.stop_within_seconds)
    }

    /// Partitions of the deliveries topic: as configured, otherwise asked of Kafka until it answers.
    pub(crate) async fn shards(&self) -> Result<Option<u16>> {
        if let Some(shards) = self.settings.topics.shards {
            return Ok(Some(shards));
        }
        let admin = Admin::new(&self.bus, &self.process.metrics)?;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let ends = tokio::select! {
                ends = admin.ends(&self.bus.topics.deliveries) => ends,
                () = self.process.stopping() => return Ok(None),
            };
            let reason = match ends.as_deref() {
                Ok([]) => "the deliveries topic is not there: run `carillon topics apply`".to_owned(),
                Ok(ends) => return Ok(Some(u16::try_from(ends.len())?)),
                Err(error) => error.to_string(),
            };
            warn!(
                topic = self.bus.topics.deliveries,
                error = reason,
                "shards not known yet, asking again"
            );
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = self.process.stopping() => return Ok(None),
            }
        }
    }

    /// Ends the process after its role: store, admin port. Then the role's outcome.
    pub(crate) async fn end(self, outcome: Result<()>) -> Result<()> {
        let closed = tokio::time::timeout(self.patience(), self.store.close()).await;
        self.admin.close(Duration::from_secs(1)).await;
        if closed.is_err() {
            warn!("store not closed in time");
        }
        self.process.outcome().and(outcome)
    }
}
