//! The same against the embedded broker: what was answered 202 is on its disk.

use std::{collections::HashSet, net::SocketAddr, path::Path, time::Duration};

use carillon_broker::{Broker, Options};
use carillon_bus::{Admin, BusConfig};
use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use carillon_fixtures::eventually;
use carillon_schemas::{
    headers,
    topics::{Layout, Topics},
};
use futures_util::future::join_all;

use crate::support::{PATIENCE, Stage};

const BODY: &str = r#"{"content":"x","channel":"alerts"}"#;

/// A broker that runs until its tasks are closed.
struct Running {
    address: SocketAddr,
    tasks: Tasks,
}

impl Running {
    /// On this directory, at a port of its own or at this one.
    async fn start(dir: &Path, at: Option<SocketAddr>) -> Self {
        let mut options = Options::new(dir);
        if let Some(at) = at {
            options.listen = at;
        }
        let broker = Broker::bind(options).await.unwrap();
        let (address, tasks) = (broker.local_addr(), Tasks::new());
        let shutdown = tasks.shutdown().clone();
        tasks.spawn("broker", async move { broker.run(shutdown).await.unwrap() });
        Self { address, tasks }
    }

    async fn stop(self) {
        assert!(self.tasks.close(PATIENCE).await.is_empty());
    }

    async fn stage(&self) -> Stage {
        let mut bus = BusConfig::new(self.address.to_string());
        bus.message_timeout = Duration::from_secs(2);
        let layout = Layout {
            notifications: 3,
            ..Layout::SINGLE
        };
        let specs = Topics::new("carillon.").all(&layout);
        Admin::new(&bus, &Metrics::new())
            .unwrap()
            .apply(&specs)
            .await
            .unwrap();
        let stage = Stage::with(|s| s.bus = bus).await;
        ready(&stage).await;
        stage
    }
}

async fn ready(stage: &Stage) {
    eventually("ready", async || stage.readiness.unmet(), Vec::is_empty).await;
}

#[tokio::test]
async fn each_of_many_submits_at_once_stands_in_the_log_under_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), None).await;
    let stage = broker.stage().await;
    let answers = join_all((0..500).map(|_| stage.post(BODY))).await;
    let accepted: HashSet<_> = answers
        .iter()
        .inspect(|answer| assert_eq!(answer.status, 202, "{}", answer.json))
        .map(|answer| answer.text("notification_id").to_owned())
        .collect();
    let records = stage.records(500).await;
    let id = |record: &carillon_bus::Record| record.headers.text(headers::ID).unwrap().to_owned();
    assert_eq!(records.iter().map(id).collect::<HashSet<_>>(), accepted);
    assert_eq!((records.len(), accepted.len()), (500, 500));
    let tenants: HashSet<_> = records.iter().map(|record| record.partition).collect();
    assert_eq!(tenants.len(), 1, "one tenant, one partition");
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_that_stops_is_503_and_what_was_accepted_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), None).await;
    let address = broker.address;
    let stage = broker.stage().await;
    let before = stage.post(BODY).await;
    assert_eq!(before.status, 202);
    broker.stop().await;
    let refused = async || while stage.post(BODY).await.problem() != (503, "unavailable") {};
    tokio::time::timeout(PATIENCE, refused()).await.unwrap();
    assert_eq!(stage.readiness.unmet()[0].0, "kafka");

    let broker = Running::start(dir.path(), Some(address)).await;
    ready(&stage).await;
    let after = stage.post(BODY).await;
    assert_eq!(after.status, 202);
    let records = stage.records(2).await;
    let has = |id: &str| {
        records
            .iter()
            .any(|record| record.headers.text(headers::ID) == Some(id))
    };
    assert!(has(before.text("notification_id")) && has(after.text("notification_id")));
    broker.stop().await;
}
