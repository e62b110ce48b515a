//! The probe: whether the store and Kafka are there while nothing flows.
//!
//! In: time. Out: readiness. Always: it holds no record and makes none wait.

use std::{sync::Arc, time::Duration};

use carillon_bus::Producer;
use carillon_store::NotificationStore;
use tokio::time::{MissedTickBehavior, interval};

use crate::hold::{Dependency, Holds, Site};

/// How often the first connection is looked for.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// The room.
pub(crate) struct Probe {
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) producer: Producer,
    pub(crate) holds: Arc<Holds>,
    pub(crate) every: Duration,
}

impl Probe {
    /// Asks for ever; it is dropped with the router.
    pub(crate) async fn run(&self) {
        // A client needs a moment for its first connection: that is no outage, and nobody should wait for
        // the next tick to hear that it is there.
        tokio::time::timeout(self.every, self.first_connection())
            .await
            .unwrap_or_default();
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.ask_kafka();
            self.ask_store().await;
        }
    }

    async fn first_connection(&self) {
        while !self.producer.connected() {
            tokio::time::sleep(FIRST_LOOK).await;
        }
    }

    async fn ask_store(&self) {
        match self.store.ping().await {
            Ok(()) => self.holds.let_go(Site::StoreProbe),
            Err(error) => self
                .holds
                .hold(Site::StoreProbe, Dependency::Store, &error.to_string()),
        }
    }

    fn ask_kafka(&self) {
        if self.producer.connected() {
            self.holds.let_go(Site::KafkaProbe);
        } else {
            let reason = self.producer.trouble();
            let reason = reason.unwrap_or_else(|| "no broker answers".to_owned());
            self.holds.hold(Site::KafkaProbe, Dependency::Kafka, &reason);
        }
    }
}
