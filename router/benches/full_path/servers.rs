//! What the router is measured on: embedded parts, or the servers of a running test cluster.
//!
//! In: whether each write is fsynced. Out: a way into Kafka and a store, both empty, under names of their own.
//! Always: the embedded broker has threads of its own, so that its share can be told apart.

use std::{sync::Arc, time::Duration};

use carillon_broker::{Broker, BrokerError, Options};
use carillon_bus::BusConfig;
use carillon_chassis::{clock::Clock, metrics::Metrics, secret::Secret};
use carillon_fixtures::{Description, SHARED, shared};
use carillon_loadtest::report::Report;
use carillon_schemas::topics::{Layout, Topics};
use carillon_store::{Fsync, NotificationStore, StoreConfig};
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::Outcome;

/// How far the disk may be behind when not each write is fsynced.
const INTERVAL: Duration = Duration::from_millis(100);

/// The store's own benchmark, and what of it the router is compared with.
const STORE_REPORT: &str = "store-cassandra";
const STORE_FIGURE: &str = "100 tenants, 4 batches: CPU per notification";

fn on_cluster() -> bool {
    std::env::var_os(SHARED).is_some()
}

/// How many notifications are some seconds of work.
pub(crate) fn backlog() -> u64 {
    if on_cluster() { 50_000 } else { 200_000 }
}

/// Running servers.
pub(crate) struct Servers {
    /// The way into Kafka.
    pub(crate) bus: BusConfig,
    /// The topics' figures.
    pub(crate) layout: Layout,
    /// An empty store.
    pub(crate) store: Arc<dyn NotificationStore>,
    /// What the report is called.
    pub(crate) report: &'static str,
    /// What the servers are, for the report.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// The target of notifications per core.
    pub(crate) per_core: Option<&'static str>,
    embedded: Option<Embedded>,
}

struct Embedded {
    runtime: Runtime,
    serving: JoinHandle<Result<(), BrokerError>>,
    stop: CancellationToken,
    _dir: TempDir,
}

impl Servers {
    /// Those of the test cluster where there is one, otherwise embedded ones.
    pub(crate) fn start(roles: &Runtime, fsync: bool) -> Outcome<Self> {
        if on_cluster() {
            return roles.block_on(Self::cluster(&shared()));
        }
        Self::embedded(roles, fsync)
    }

    async fn cluster(cluster: &Description) -> Outcome<Self> {
        let run = format!("bench{}", std::process::id());
        let mut bus = BusConfig::new(&cluster.kafka.plaintext);
        bus.topics = Topics::new(&format!("{run}."));
        let brokers = cluster.kafka.plaintext.split(',').count();
        let replication = brokers.min(3) as u16;
        let mut config = StoreConfig::default();
        config.cassandra.user = Some(cluster.cassandra.user.clone());
        config.cassandra.password = Some(Secret::new(cluster.cassandra.password.clone()));
        config.cassandra.replication = 1;
        let url = format!("cassandra://{}/{run}", cluster.cassandra.address);
        carillon_store::migrate(&url, &config).await?;
        let store = carillon_store::open(&url, &config, &Clock::system(), &Metrics::new()).await?;
        Ok(Self {
            bus,
            layout: Layout {
                replication,
                min_in_sync: replication.min(2),
                ..Layout::SINGLE
            },
            store,
            report: "router-cassandra",
            settings: vec![
                ("brokers", brokers.to_string()),
                ("store", "Cassandra".to_owned()),
            ],
            per_core: None,
            embedded: None,
        })
    }

    fn embedded(roles: &Runtime, fsync: bool) -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("broker")
            .enable_all()
            .build()?;
        let mut options = Options::new(dir.path().join("broker"));
        let mut config = StoreConfig::default();
        if !fsync {
            options.fsync = carillon_broker::Fsync::Interval(INTERVAL);
            config.fsync = Fsync::Interval(INTERVAL);
        }
        let broker = runtime.block_on(Broker::bind(options))?;
        let bus = BusConfig::new(broker.local_addr().to_string());
        let stop = CancellationToken::new();
        let token = stop.clone();
        let serving = runtime.spawn(async move { broker.run(token).await });
        let url = format!("sqlite:{}", dir.path().join("carillon.db").display());
        let (clock, metrics) = (Clock::system(), Metrics::new());
        let store = roles.block_on(carillon_store::open(&url, &config, &clock, &metrics))?;
        Ok(Self {
            bus,
            layout: Layout::SINGLE,
            store,
            report: "router",
            settings: vec![("fsync", if fsync { "each" } else { "every 100 ms" }.to_owned())],
            per_core: Some(">= 25000"),
            embedded: Some(Embedded {
                runtime,
                serving,
                stop,
                _dir: dir,
            }),
        })
    }

    /// What a bare loop on the same store used per notification, in microseconds, where the store's benchmark
    /// went before this one.
    pub(crate) fn bare_store(&self, report: &Report) -> Option<f64> {
        if self.embedded.is_some() {
            return None;
        }
        let of_store = Report::read(STORE_REPORT).ok()?;
        of_store.figure_of(report, STORE_FIGURE)?.bare
    }

    /// Stops what was started.
    pub(crate) fn stop(self, roles: &Runtime) -> Outcome<()> {
        roles.block_on(self.store.close());
        if let Some(embedded) = self.embedded {
            embedded.stop.cancel();
            embedded.runtime.block_on(embedded.serving)??;
        }
        Ok(())
    }
}
