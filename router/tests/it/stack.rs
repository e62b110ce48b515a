//! A broker, a store and routers between them.
//!
//! In: nothing. Out: a running stack and ways to look at it. Always: port 0, a directory of its own, and
//! whatever is waited for is waited for by its condition.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_broker::{Broker, Fsync, Options};
use carillon_bus::{Admin, BusConfig, Outgoing, Producer, Record, Tail, TailOptions};
use carillon_chassis::{clock::Clock, metrics::Metrics, readiness::Readiness, tasks::Tasks};
use carillon_router::{Router, RouterConfig, RouterDeps, RouterError};
use carillon_schemas::{
    NotificationId, headers,
    status::Status,
    topics::{Layout, TopicSpec, Topics},
};
use carillon_store::{NotificationStore, SqliteOptions, SqliteStore};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{faulty_store::FaultyStore, records};

pub(crate) const LAYOUT: Layout = Layout {
    beside: 2,
    notifications: 3,
    shards: 8,
    dead_letters: 1,
    replication: 1,
    min_in_sync: 1,
};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Stack {
    pub(crate) bus: BusConfig,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) producer: Producer,
    broker: Option<(CancellationToken, JoinHandle<()>)>,
    address: SocketAddr,
    tasks: Tasks,
    dir: TempDir,
}

/// A router that runs.
pub(crate) struct Running {
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    shutdown: CancellationToken,
    ended: oneshot::Receiver<Result<(), RouterError>>,
    task: JoinHandle<()>,
}

impl Stack {
    /// Everything, with every topic as it should be.
    pub(crate) async fn start() -> Self {
        let stack = Self::without_topics().await;
        stack.make_topics(|_| {}).await;
        stack
    }

    /// The same, with a ladder of these tiers.
    pub(crate) async fn with_tiers(tiers: &[&str]) -> Self {
        let mut stack = Self::without_topics().await;
        let tiers: Vec<_> = tiers.iter().map(|tier| tier.parse().unwrap()).collect();
        stack.bus.topics = Topics::with_ladder("carillon.", &tiers);
        stack.make_topics(|_| {}).await;
        stack
    }

    /// Everything that stands on the tiers of the ladder, shortest delay first.
    pub(crate) async fn on_the_ladder(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for tier in &self.bus.topics.retry {
            let count = self.count(&tier.name).await as usize;
            records.extend(self.read(&tier.name, count).await);
        }
        records
    }

    /// Makes the topics, or changes them to be like this.
    pub(crate) async fn make_topics(&self, change: impl Fn(&mut TopicSpec)) {
        let mut specs = self.bus.topics.all(&LAYOUT);
        specs.iter_mut().for_each(change);
        let admin = Admin::new(&self.bus, &Metrics::new()).unwrap();
        admin.apply(&specs).await.unwrap();
    }

    /// Makes every topic but this one.
    pub(crate) async fn make_topics_but(&self, missing: &str) {
        let mut specs = self.bus.topics.all(&LAYOUT);
        specs.retain(|spec| spec.name != missing);
        let admin = Admin::new(&self.bus, &Metrics::new()).unwrap();
        admin.apply(&specs).await.unwrap();
    }

    pub(crate) async fn without_topics() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (broker, address) = start_broker(&dir, ([127, 0, 0, 1], 0).into()).await;
        let tasks = Tasks::new();
        let mut bus = BusConfig::new(address.to_string());
        bus.message_timeout = Duration::from_secs(2);
        let metrics = Metrics::new();
        let options = SqliteOptions::default();
        let sqlite = SqliteStore::open(dir.path().join("carillon.db"), options, Clock::system(), &metrics);
        Self {
            producer: Producer::new(&bus, &metrics, &tasks).unwrap(),
            bus,
            store: Arc::new(FaultyStore::new(sqlite.unwrap())),
            broker: Some(broker),
            address,
            tasks,
            dir,
        }
    }

    /// A router whose waits are short.
    pub(crate) fn router(&self) -> Running {
        let mut config = RouterConfig::new("router", "router-1");
        config.shards = LAYOUT.shards;
        config.backoff_first = Duration::from_millis(10);
        config.backoff_cap = Duration::from_millis(100);
        config.probe_every = Duration::from_millis(50);
        self.router_with(config)
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a test kills the task, as a crash would"
    )]
    pub(crate) fn router_with(&self, config: RouterConfig) -> Running {
        let (readiness, metrics, tasks) = (Readiness::default(), Metrics::new(), self.tasks.child());
        let deps = RouterDeps {
            bus: self.bus.clone(),
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            clock: Clock::system(),
            store: self.store.clone(),
            tasks,
        };
        let router = Router::new(config, deps).unwrap();
        let shutdown = CancellationToken::new();
        let (end, ended) = oneshot::channel();
        let token = shutdown.clone();
        let task = tokio::spawn(async move {
            let _ = end.send(router.run(token).await);
        });
        Running {
            readiness,
            metrics,
            shutdown,
            ended,
            task,
        }
    }

    /// Publishes records, in order, and waits for their acknowledgements.
    pub(crate) async fn publish(&self, records: impl IntoIterator<Item = Outgoing>) {
        let sent: Vec<_> = records
            .into_iter()
            .map(|r| self.producer.send(r).unwrap())
            .collect();
        for delivery in sent {
            delivery.await.unwrap();
        }
    }

    /// The first `count` records of a topic, partition by partition in order.
    pub(crate) async fn read(&self, topic: &str, count: usize) -> Vec<Record> {
        let admin = Admin::new(&self.bus, &Metrics::new()).unwrap();
        let from: Vec<_> = admin
            .ends(topic)
            .await
            .unwrap()
            .iter()
            .map(|end| (end.0, end.1))
            .collect();
        let options = TailOptions::default();
        let (tail, mut batches) =
            Tail::start(&self.bus, topic, from, options, &Metrics::new(), &self.tasks).unwrap();
        let mut records: Vec<Record> = Vec::new();
        let begun = Instant::now();
        while records.len() < count {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            match tokio::time::timeout(left, batches.recv()).await {
                Ok(Some(batch)) => records.extend(batch),
                _ => panic!("{topic}: {} of {count} records", records.len()),
            }
        }
        tail.close(PATIENCE).await.unwrap();
        records
    }

    pub(crate) async fn deliveries(&self, count: usize) -> Vec<Record> {
        self.read(&self.bus.topics.deliveries, count).await
    }

    pub(crate) async fn dead_letters(&self, count: usize) -> Vec<Record> {
        self.read(&self.bus.topics.dead_letters, count).await
    }

    /// How many records a topic has.
    pub(crate) async fn count(&self, topic: &str) -> i64 {
        let admin = Admin::new(&self.bus, &Metrics::new()).unwrap();
        let ends = admin.ends(topic).await.unwrap();
        ends.iter().map(|(_, earliest, end)| end - earliest).sum()
    }

    pub(crate) async fn status(&self, tenant: &str, id: NotificationId) -> Option<Status> {
        let known = self.store.heads(&records::tenant(tenant), &[id]).await.unwrap();
        known[0].map(|head| head.stamp.status)
    }

    /// Stops the broker; its data stays.
    pub(crate) async fn stop_broker(&mut self) {
        if let Some((shutdown, task)) = self.broker.take() {
            shutdown.cancel();
            task.await.unwrap();
        }
    }

    /// Starts it again, on the same data and the same port.
    pub(crate) async fn start_broker(&mut self) {
        self.broker = Some(start_broker(&self.dir, self.address).await.0);
    }

    /// Ends everything and asserts that nothing is left running.
    pub(crate) async fn stop(mut self) {
        drop(self.producer);
        self.store.close().await;
        assert!(self.tasks.close(PATIENCE).await.is_empty());
        if let Some((shutdown, task)) = self.broker.take() {
            shutdown.cancel();
            task.await.unwrap();
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a broker of a test's own")]
async fn start_broker(
    dir: &TempDir,
    listen: SocketAddr,
) -> ((CancellationToken, JoinHandle<()>), SocketAddr) {
    let mut options = Options::new(dir.path().join("broker"));
    options.listen = listen;
    options.fsync = Fsync::Interval(Duration::from_millis(100));
    options.group_join_delay = Duration::ZERO;
    let broker = Broker::bind(options).await.unwrap();
    let address = broker.local_addr();
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let task = tokio::spawn(async move { broker.run(token).await.unwrap() });
    ((shutdown, task), address)
}

impl Running {
    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(self) {
        self.end().await.unwrap();
    }

    /// Asks it to stop and says how it ended.
    pub(crate) async fn end(self) -> Result<(), RouterError> {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.ended).await;
        ended.unwrap().unwrap()
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// The value of a metric without labels, or with exactly these.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.render();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |v| v.parse().unwrap())
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.readiness.unmet().is_empty()
    }
}

/// How often each notification was delivered.
pub(crate) fn counts(deliveries: &[Record]) -> HashMap<NotificationId, usize> {
    let mut counts = HashMap::new();
    for record in deliveries {
        let id = record.headers.text(headers::ID).unwrap();
        *counts.entry(id.parse().unwrap()).or_default() += 1;
    }
    counts
}

/// The numbers of a tenant's deliveries, in the order of the topic, first appearances only.
pub(crate) fn order(deliveries: &[Record], tenant: &str) -> Vec<NotificationId> {
    let mut seen = Vec::new();
    for record in deliveries
        .iter()
        .filter(|r| r.headers.text(headers::TENANT) == Some(tenant))
    {
        let id = record.headers.text(headers::ID).unwrap().parse().unwrap();
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    seen
}
