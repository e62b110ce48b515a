//! The stage of one test: a Kafka of either kind, a topic and a group of its own.
//!
//! In: a lane. Out: clients' configuration, names. Always: on the shared cluster, what a test made is deleted
//! at its end, whatever becomes of the test.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use carillon_broker::{Broker, Options};
use carillon_bus::{Admin, BusConfig, ConsumerOptions, Follower, Tail, TailOptions};
use carillon_bus::{RangeReader, Record};
use carillon_chassis::tasks::Tasks;
use carillon_fixtures::shared;
use carillon_schemas::topics::TopicSpec;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::{Member, Place};

/// Which Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// The embedded broker, in this process.
    Embedded,
    /// The cluster that the run of tests shares.
    Cluster,
}

/// Runs each test on both lanes.
macro_rules! on_both_lanes {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                Box::pin(super::$name($crate::stage::Lane::Embedded)).await;
            })*
        }
        mod cluster {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs the cluster: make cluster"]
            async fn $name() {
                Box::pin(super::$name($crate::stage::Lane::Cluster)).await;
            })*
        }
    };
}
pub(crate) use on_both_lanes;

pub(crate) struct Stage {
    pub(crate) lane: Lane,
    pub(crate) place: Place,
    pub(crate) topic: String,
    pub(crate) group: String,
    _kafka: Kafka,
}

#[allow(dead_code, reason = "both go with the stage")]
enum Kafka {
    Embedded(TempDir),
    Cluster(Made),
}

/// What is deleted at the end.
struct Made {
    bootstrap: String,
    prefix: String,
}

impl Stage {
    /// Kafka, and nothing in it.
    pub(crate) async fn bare(lane: Lane) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "bus-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let group = format!("{name}-group");
        let (bootstrap, kafka) = match lane {
            Lane::Embedded => embedded().await,
            Lane::Cluster => {
                let bootstrap = shared().kafka.plaintext;
                let made = Made {
                    bootstrap: bootstrap.clone(),
                    prefix: format!("{name}."),
                };
                (bootstrap, Kafka::Cluster(made))
            }
        };
        let mut place = Place::new(bootstrap);
        let defaults = BusConfig::new("");
        place.config.session_timeout = defaults.session_timeout;
        place.config.fetch_wait = defaults.fetch_wait;
        Self {
            lane,
            place,
            topic: format!("{name}.numbers"),
            group,
            _kafka: kafka,
        }
    }

    /// Kafka with a topic.
    pub(crate) async fn start(lane: Lane, partitions: u32) -> Self {
        let stage = Self::bare(lane).await;
        let spec = stage.spec(partitions);
        stage.admin().apply(&[spec]).await.unwrap();
        stage
    }

    pub(crate) fn admin(&self) -> Admin {
        Admin::new(&self.place.config, &self.place.metrics).unwrap()
    }

    /// Copies that Kafka of this kind should keep, and those that acknowledge.
    pub(crate) fn copies(&self) -> (u16, u16) {
        match self.lane {
            Lane::Embedded => (1, 1),
            Lane::Cluster => (3, 2),
        }
    }

    pub(crate) fn spec(&self, partitions: u32) -> TopicSpec {
        let (replication, min_in_sync) = self.copies();
        TopicSpec {
            timestamps: carillon_schemas::topics::Timestamps::Create,
            name: self.topic.clone(),
            partitions,
            replication,
            min_in_sync,
            retention: Duration::from_secs(3600),
            max_message_bytes: 1024 * 1024,
        }
    }

    pub(crate) fn member(&self, options: ConsumerOptions) -> Member {
        self.place.member(&self.group, &self.topic, options)
    }

    pub(crate) fn follower(&self, options: ConsumerOptions) -> Member<Follower> {
        self.place.follower(&self.group, &self.topic, options)
    }

    pub(crate) fn tail(&self, from: Vec<(i32, i64)>) -> (Tail, mpsc::Receiver<Vec<Record>>) {
        let place = &self.place;
        let options = TailOptions::default();
        Tail::start(
            &place.config,
            &self.topic,
            from,
            options,
            &place.metrics,
            &place.tasks,
        )
        .unwrap()
    }

    pub(crate) fn ranges(&self) -> RangeReader {
        let place = &self.place;
        RangeReader::new(&place.config, &self.topic, 2, &place.metrics, &place.tasks).unwrap()
    }
}

async fn embedded() -> (String, Kafka) {
    let dir = TempDir::new().unwrap();
    let broker = Broker::bind(Options::new(dir.path())).await.unwrap();
    let (tasks, address) = (Tasks::new(), broker.local_addr());
    let shutdown = tasks.shutdown().clone();
    // It ends with the test's runtime.
    tasks.spawn("broker", async move { broker.run(shutdown).await.unwrap() });
    (address.to_string(), Kafka::Embedded(dir))
}

impl Drop for Made {
    fn drop(&mut self) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        let prefix = self.prefix.clone();
        let clean = std::thread::spawn(move || {
            let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
            let there = admin
                .inner()
                .fetch_metadata(None, Duration::from_secs(10))
                .unwrap();
            let topics = there.topics().iter().map(rdkafka::metadata::MetadataTopic::name);
            let ours: Vec<&str> = topics.filter(|t| t.starts_with(&prefix)).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            // Groups stay, and are forgotten by time: librdkafka may abort the process when the coordinator of a
            // group that is to be deleted is not there (its issue 3663).
            if !ours.is_empty() {
                drop(runtime.block_on(admin.delete_topics(&ours, &AdminOptions::new())));
            }
        });
        assert!(
            clean.join().is_ok() || std::thread::panicking(),
            "topics of a test stay"
        );
    }
}
