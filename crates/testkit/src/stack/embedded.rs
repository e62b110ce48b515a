//! The embedded lane: an embedded broker, a SQLite store, and roles as tasks of the test's process.
//!
//! In: keys, a clock, a number of shards. Out: roles, each made as a process would make it.
//! Always: roles come only through their public constructors; no test-only door.

use std::{net::SocketAddr, sync::Arc};

use carillon_auth::{Access, AuthConfig, Verifier};
use carillon_broker::{Broker, Options};
use carillon_bus::{Admin, BusConfig, Producer, RangeReader};
use carillon_chassis::{
    clock::Clock,
    http::{Routes, ServeOptions, serve},
    metrics::Metrics,
    tasks::Tasks,
};
use carillon_fanout::{Fanout, FanoutConfig, FanoutDeps};
use carillon_ingest::{Ingest, IngestConfig, IngestDeps};
use carillon_router::{Router, RouterConfig, RouterDeps};
use carillon_schemas::topics::Layout;
use carillon_store::{NotificationStore, PageKey, StoreConfig};
use tokio::net::TcpListener;

use super::{Node, STOP, node::Part};

pub(super) const GROUP: &str = "carillon-router";

pub(super) struct Embedded {
    bus: BusConfig,
    store: Arc<dyn NotificationStore>,
    verifier: Arc<Verifier>,
    clock: Clock,
    layout: Layout,
    broker: Tasks,
    _dir: tempfile::TempDir,
}

#[allow(clippy::expect_used, reason = "a test cannot go on without its stack")]
impl Embedded {
    pub(super) async fn start(auth: AuthConfig, clock: Clock, shards: u16) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("carillon-stack-")
            .tempdir()
            .expect("a directory");
        let broker = Broker::bind(Options::new(dir.path().join("kafka")))
            .await
            .expect("the broker binds");
        let address = broker.local_addr();
        let tasks = Tasks::new();
        let shutdown = tasks.shutdown().clone();
        tasks.spawn("broker", async move {
            broker.run(shutdown).await.expect("the broker runs")
        });
        let bus = BusConfig::new(address.to_string());
        let layout = Layout {
            shards,
            ..Layout::SINGLE
        };
        let metrics = Metrics::new();
        let admin = Admin::new(&bus, &metrics).expect("an admin client");
        admin.apply(&bus.topics.all(&layout)).await.expect("topics");
        let url = format!("sqlite:{}", dir.path().join("carillon.db").display());
        let store = carillon_store::open(&url, &StoreConfig::default(), &clock, &metrics)
            .await
            .expect("a store");
        let verifier = Arc::new(Verifier::new(auth, clock.clone()).expect("a verifier"));
        Self {
            bus,
            store,
            verifier,
            clock,
            layout,
            broker: tasks,
            _dir: dir,
        }
    }

    pub(super) fn base(&self) -> &BusConfig {
        &self.bus
    }

    fn bus(&self, client: &str) -> BusConfig {
        BusConfig {
            client_id: client.to_owned(),
            ..self.bus.clone()
        }
    }

    pub(super) async fn ingest(&self, name: String) -> Node {
        let mut node = Part::new(name);
        let bus = self.bus(&node.name);
        let producer = Producer::new(&bus, &node.metrics, &node.tasks).expect("a producer");
        let topic = &bus.topics.dead_letters;
        let dead_letters = RangeReader::new(&bus, topic, 1, &node.metrics, &node.tasks).expect("a reader");
        let config = IngestConfig {
            node: node.name.clone(),
            ..IngestConfig::default()
        };
        let deps = IngestDeps {
            metrics: node.metrics.clone(),
            readiness: node.readiness.clone(),
            clock: self.clock.clone(),
            store: Arc::clone(&self.store),
            producer,
            dead_letters,
            access: Access::Tokens(Arc::clone(&self.verifier)),
            topics: bus.topics.clone(),
            page_key: PageKey::new(b"a page key of tests, 32 bytes long"),
            tasks: node.tasks.clone(),
        };
        let ingest = Ingest::new(config, deps).expect("an ingest");
        node.url = Some(host(&node.tasks, ingest.routes()).await);
        node.into()
    }

    pub(super) fn router(&self, name: String) -> Node {
        let node = Part::new(name);
        let config = RouterConfig {
            shards: self.layout.shards,
            ..RouterConfig::new(GROUP, node.name.as_str())
        };
        let deps = RouterDeps {
            bus: self.bus(&node.name),
            metrics: node.metrics.clone(),
            readiness: node.readiness.clone(),
            clock: self.clock.clone(),
            store: Arc::clone(&self.store),
            tasks: node.tasks.child(),
        };
        let router = Router::new(config, deps).expect("a router");
        let shutdown = node.tasks.shutdown().clone();
        node.tasks.spawn("router", async move {
            router.run(shutdown).await.expect("the router runs")
        });
        node.into()
    }

    pub(super) async fn fanout(&self, name: String) -> Node {
        let mut node = Part::new(name);
        let config = FanoutConfig {
            node: node.name.clone(),
            ..FanoutConfig::default()
        };
        let deps = FanoutDeps {
            bus: self.bus(&node.name),
            metrics: node.metrics.clone(),
            readiness: node.readiness.clone(),
            clock: self.clock.clone(),
            store: Arc::clone(&self.store),
            access: Access::Tokens(Arc::clone(&self.verifier)),
            tasks: node.tasks.clone(),
        };
        let fanout = Fanout::new(config, deps).expect("a fanout");
        node.url = Some(host(&node.tasks, fanout.routes()).await);
        let shutdown = node.tasks.shutdown().clone();
        node.tasks.spawn("fanout", async move {
            fanout.run(shutdown).await.expect("the fanout runs")
        });
        node.into()
    }

    pub(super) async fn stop(self) {
        self.store.close().await;
        let late = self.broker.close(STOP).await;
        assert!(late.is_empty(), "the broker did not stop: {late:?}");
        assert_eq!(self.broker.panics(), 0, "a task of the broker panicked");
    }
}

/// Serves routes on a port of their own; gives the URL.
#[allow(clippy::expect_used, reason = "a test cannot go on without its port")]
async fn host(tasks: &Tasks, routes: Routes) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("a bound port");
    let serving = tasks.clone();
    tasks.spawn("http", async move {
        serve(listener, routes, &serving, ServeOptions::default()).await
    });
    format!("http://{address}")
}
