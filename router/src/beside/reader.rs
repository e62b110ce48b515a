//! The reader: a member of a group of its own on a topic beside the notifications.
//!
//! In: a topic. Out: batches of what is there. Always: a batch is finished by whoever took it, after its effect
//! is durable; what was not finished is read again.

use std::{collections::VecDeque, time::Duration};

use carillon_bus::{BusConfig, ConsumerOptions, Event, GroupConsumer, Record};
use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use tokio::sync::mpsc;

use crate::{RouterError, beside::BesideConfig};

/// Most bytes fetched ahead, in KiB.
const FETCH_AHEAD_KIB: u32 = 2 * 1024;

/// A member of a group and what it was handed.
pub(crate) struct Reader {
    consumer: GroupConsumer,
    events: mpsc::Receiver<Event>,
    waiting: VecDeque<Record>,
    batch: usize,
}

/// How a topic beside the notifications is read.
pub(crate) fn options(config: &BesideConfig) -> ConsumerOptions {
    ConsumerOptions {
        queue: config.ahead,
        batch: config.records,
        fetch_ahead_kib: FETCH_AHEAD_KIB,
        ..ConsumerOptions::default()
    }
}

impl Reader {
    /// Joins the group.
    pub(crate) fn join(
        bus: &BusConfig,
        group: &str,
        topic: &str,
        config: &BesideConfig,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, RouterError> {
        let topics = [topic.to_owned()];
        let (consumer, events) = GroupConsumer::start(bus, group, &topics, options(config), metrics, tasks)?;
        Ok(Self {
            consumer,
            events,
            waiting: VecDeque::new(),
            batch: config.records,
        })
    }

    /// What is there, up to a batch, after waiting for the first record. May be given up and asked again.
    pub(crate) async fn next(&mut self) -> Result<Vec<Record>, RouterError> {
        while self.waiting.is_empty() {
            let event = self.events.recv().await.ok_or(RouterError::ConsumerEnded)?;
            self.hear(event);
        }
        while self.waiting.len() < self.batch
            && let Ok(event) = self.events.try_recv()
        {
            self.hear(event);
        }
        let count = self.waiting.len().min(self.batch);
        Ok(self.waiting.drain(..count).collect())
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Records(batch) => self.waiting.extend(batch.records),
            Event::Assigned(_) => {}
            Event::Revoked(gone) => {
                let consumer = &self.consumer;
                self.waiting.retain(|record| {
                    let goes = gone
                        .iter()
                        .any(|p| p.partition == record.partition && p.topic == record.topic);
                    if goes {
                        consumer.let_go(&record.topic, record.partition, record.offset);
                    }
                    !goes
                });
            }
        }
    }

    /// What these asked for is durable.
    pub(crate) fn finish(&self, records: &[Record]) {
        for record in records {
            self.consumer
                .finish(&record.topic, record.partition, record.offset);
        }
    }

    /// Commits and leaves the group.
    pub(crate) async fn close(self, deadline: Duration) -> Result<(), RouterError> {
        drop(self.events);
        Ok(self.consumer.close(deadline).await?)
    }
}
