//! What the role commands have in common: settings, logs, an admin port, servers to stand on, a stop in order.
//!
//! In: a role's flags. Out: a prepared process, and its end. Always: what contradicts itself is refused and
//! ports are taken before any work; the admin port answers from then until the role has stopped; the stop ends
//! in time.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use carillon_auth::Access;
use carillon_bus::BusConfig;
use carillon_chassis::{admin, readiness::Condition, tasks::Tasks};
use carillon_store::{NotificationStore, StoreConfig};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    settings::{AdminFlags, AuthFlags, ConfigFlags, KafkaFlags, Pairs, Settings, StoreFlags, load},
    stack::{
        Gate, Process, Standing, Waiting, access, bind, bus_config, install_telemetry, require_loopback,
        resolve, serve, store_config, store_url,
    },
};

/// Scopes of a token that names none, in a cluster.
const SCOPES: &str = "publish read listen";
/// The life cycle of the role.
const LOG_FILTER: &str = "info";
/// How long the admin port may take for its last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Flags of a role that serves clients, beside where it listens.
#[derive(Debug, clap::Args)]
pub(crate) struct Serving {
    #[command(flatten)]
    admin: AdminFlags,
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
    /// A prepared role, its port, and whom it believes; `--no-auth` is refused here for any address but
    /// loopback.
    pub(crate) async fn bind(
        self,
        name: &'static str,
        listen: Option<String>,
        default: &str,
    ) -> Result<(Role, Gate, Access)> {
        let mut pairs = Pairs::default();
        pairs.text("listen", listen.as_ref());
        self.bind_with(pairs, name, default).await
    }

    /// The same with flags of the role's own; `listen` is among them.
    pub(crate) async fn bind_with(
        self,
        mut pairs: Pairs,
        name: &'static str,
        default: &str,
    ) -> Result<(Role, Gate, Access)> {
        self.admin.push(&mut pairs);
        self.kafka.push(&mut pairs);
        self.store.push(&mut pairs);
        self.auth.push(&mut pairs);
        let role = Role::prepare(name, &self.config, pairs).await?;
        let access = access(&role.settings, None, SCOPES, &role.process.clock)?;
        let listen = resolve("--listen", role.settings.listen.as_deref().unwrap_or(default))?;
        require_loopback(&role.settings, listen)?;
        let (gate, address) = Gate::close("--listen", listen).await?;
        role.tell(Some(address));
        Ok((role, gate, access))
    }
}

/// A role's process before its role.
pub(crate) struct Role {
    pub(crate) settings: Settings,
    pub(crate) process: Process,
    pub(crate) bus: BusConfig,
    store: StoreConfig,
    name: &'static str,
    url: String,
    admin_address: SocketAddr,
    admin: Tasks,
    /// Unmet until the role is made and has conditions of its own.
    starting: Condition,
}

impl Role {
    /// Settings, logs, signals, the admin port.
    pub(crate) async fn prepare(name: &'static str, config: &ConfigFlags, pairs: Pairs) -> Result<Self> {
        let settings = load(config, pairs)?.settings;
        install_telemetry(&settings, LOG_FILTER)?;
        let url = store_url(&settings)?.to_owned();
        let (bus, store) = (bus_config(&settings, name)?, store_config(&settings)?);
        let process = Process::new();
        process.watch_signals()?;
        let starting = process.readiness.condition("role");
        let address = resolve("--admin-listen", &settings.admin_listen)?;
        let (listener, admin_address) = bind("--admin-listen", address).await?;
        let admin = serve(listener, admin::routes(&process.readiness, &process.metrics));
        Ok(Self {
            settings,
            process,
            bus,
            store,
            name,
            url,
            admin_address,
            admin,
            starting,
        })
    }

    /// The first line: where this process can be found, whichever ports it was given.
    pub(crate) fn tell(&self, listen: Option<SocketAddr>) {
        let (role, admin, kafka) = (self.name, self.admin_address, &self.settings.kafka);
        match listen {
            Some(listen) => info!(role, %listen, %admin, kafka, "role starts"),
            None => info!(role, %admin, kafka, "role starts"),
        }
    }

    /// Waits for the store and for topics; `None` when the process is told to stop first.
    ///
    /// # Errors
    /// What no waiting helps against.
    pub(crate) async fn stand(&self, topics: &[&String]) -> Result<Option<Standing>> {
        let waiting = Waiting::new(&self.process);
        waiting
            .wait((&self.url, &self.store), (&self.bus, topics), &self.process)
            .await
    }

    /// The role is made: from here its own conditions say whether it takes work.
    pub(crate) fn made(&self) {
        self.starting.met();
        info!(role = self.name, "role runs");
    }

    /// Waits for the signal; then the role has this long.
    pub(crate) async fn stopping(&self) -> Stop {
        self.process.stopping().await;
        Stop {
            until: Instant::now() + Duration::from_secs(self.settings.stop_within_seconds),
        }
    }

    /// Ends a process whose role was never made.
    pub(crate) async fn end_early(self) -> Result<()> {
        self.admin.close(LAST_ANSWERS).await;
        self.process.outcome()
    }

    /// Ends the process after its role: store, admin port. Then the role's outcome.
    pub(crate) async fn end(
        self,
        stop: Stop,
        store: Arc<dyn NotificationStore>,
        outcome: Result<()>,
    ) -> Result<()> {
        if tokio::time::timeout(stop.left(), store.close()).await.is_err() {
            warn!("store not closed in time");
        }
        self.admin.close(stop.left().min(LAST_ANSWERS)).await;
        info!(role = self.name, "role stopped");
        self.process.outcome().and(outcome)
    }
}

/// A stop under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    until: Instant,
}

impl Stop {
    /// What is left of its time.
    pub(crate) fn left(self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}
