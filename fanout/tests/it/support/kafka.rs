//! Kafka for one test: the embedded broker.
//!
//! In: nothing. Out: a broker with the topics, and how to reach it.
//! Always: it is taken down with the stand; it can go and come back on the same address with what it had.

use std::{net::SocketAddr, time::Duration};

use carillon_broker::{Broker, Fsync, Options};
use carillon_bus::{Admin, BusConfig};
use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use carillon_schemas::topics::Layout;
use parking_lot::Mutex;

use super::{PATIENCE, SHARDS};

/// A broker.
pub(crate) struct Kafka {
    dir: tempfile::TempDir,
    addr: SocketAddr,
    running: Mutex<Option<Tasks>>,
}

impl Kafka {
    /// A broker with the topics, reachable or not yet.
    pub(crate) async fn start(up: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (addr, running) = serve(&dir, ([127, 0, 0, 1], 0).into()).await;
        let kafka = Self {
            dir,
            addr,
            running: Mutex::new(Some(running)),
        };
        let config = kafka.config();
        let layout = Layout {
            notifications: 1,
            shards: SHARDS,
            dead_letters: 1,
            ..Layout::SINGLE
        };
        let admin = Admin::new(&config, &Metrics::new()).unwrap();
        admin.apply(&config.topics.all(&layout)).await.unwrap();
        if !up {
            kafka.go().await;
        }
        kafka
    }

    /// How to reach it.
    pub(crate) fn config(&self) -> BusConfig {
        let mut config = BusConfig::new(self.addr.to_string());
        config.request_deadline = Duration::from_secs(2);
        config
    }

    /// Takes it away.
    pub(crate) async fn go(&self) {
        let running = self.running.lock().take();
        if let Some(running) = running {
            assert!(running.close(PATIENCE).await.is_empty());
        }
    }

    /// Brings it back with what it had.
    pub(crate) async fn come(&self) {
        let (_, running) = serve(&self.dir, self.addr).await;
        self.running.lock().replace(running);
    }
}

async fn serve(dir: &tempfile::TempDir, listen: SocketAddr) -> (SocketAddr, Tasks) {
    let options = Options {
        listen,
        fsync: Fsync::Interval(Duration::from_millis(50)),
        ..Options::new(dir.path())
    };
    let broker = Broker::bind(options).await.unwrap();
    let (addr, tasks) = (broker.local_addr(), Tasks::new());
    let stop = tasks.shutdown().clone();
    tasks.spawn("broker", async move { broker.run(stop).await.unwrap() });
    (addr, tasks)
}
