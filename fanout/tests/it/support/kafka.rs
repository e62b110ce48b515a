//! Kafka for one test.
//!
//! In: nothing. Out: a broker with the deliveries topic, and how to reach it.
//! Always: it is taken down with the stand; it can be away while the node starts.

use std::time::Duration;

use carillon_bus::{BusConfig, mock::MockKafka};

use super::SHARDS;

/// A broker.
pub(crate) struct Kafka {
    mock: MockKafka,
}

impl Kafka {
    /// A broker, reachable or not yet.
    pub(crate) async fn start(up: bool) -> Self {
        let mock = MockKafka::start(1).unwrap();
        let kafka = Self { mock };
        kafka
            .mock
            .create_topic(&kafka.config().topics.deliveries, SHARDS, 1)
            .unwrap();
        if !up {
            kafka.mock.down(1).unwrap();
        }
        kafka
    }

    /// How to reach it.
    pub(crate) fn config(&self) -> BusConfig {
        let mut config = BusConfig::new(self.mock.bootstrap());
        config.fetch_wait = Duration::from_millis(5);
        config.request_deadline = Duration::from_secs(2);
        config
    }

    /// Takes it away, with what it has.
    #[allow(dead_code)]
    pub(crate) fn go(&self) {
        self.mock.down(1).unwrap();
    }

    /// Brings it back.
    pub(crate) fn come(&self) {
        self.mock.up(1).unwrap();
    }

    /// Ends it.
    pub(crate) async fn end(self) {}
}
