//! Intake: from what the sources hand over to batches.
//!
//! In: records of every source, and the time. Out: batches; records that are let go because their partition goes.
//! Always: poison waits for nobody; a record of the ladder waits here until it is due; what a partition's revocation
//! takes away is in no batch afterwards.

use std::sync::Arc;

use bytes::Bytes;
use carillon_bus::{Batch, Record, TopicPartition};
use carillon_schemas::{
    envelope,
    headers::{self, Headers},
};
use tokio::time::Instant;

use crate::{
    fair::Fair,
    ladder::Ladder,
    metrics::Queues,
    open,
    overflow::{Consumers, Found, Overflow},
    schedule::DueNow,
    sources::Source,
    travel::On,
    waiting::Waiting,
    work::{Ended, Item, Work},
};

/// Tenants that metrics name; the others are told together.
const TOP: usize = 20;

/// What was handed over and is not begun. Bounded by the consumers, which hand out so many and pause then.
pub(crate) struct Intake<C> {
    node: Arc<str>,
    ladder: Arc<Ladder>,
    notifications: Arc<str>,
    lanes: Fair<Item>,
    overflow: Overflow<C>,
    waiting: Waiting<Item>,
    poison: Vec<Ended>,
    #[cfg(feature = "seeded-bugs")]
    bug: Option<crate::seeded::SeededBug>,
}

impl<C: Consumers> Intake<C> {
    /// Empty.
    pub(crate) fn new(
        node: Arc<str>,
        ladder: Arc<Ladder>,
        notifications: Arc<str>,
        lanes: Fair<Item>,
        overflow: Overflow<C>,
    ) -> Self {
        Self {
            node,
            ladder,
            notifications,
            lanes,
            overflow,
            waiting: Waiting::default(),
            poison: Vec::new(),
            #[cfg(feature = "seeded-bugs")]
            bug: None,
        }
    }

    /// A seeded bug.
    #[cfg(feature = "seeded-bugs")]
    pub(crate) fn with_bug(self, bug: Option<crate::seeded::SeededBug>) -> Self {
        Self { bug, ..self }
    }

    /// Notifications, and how far what was left out between them goes.
    pub(crate) fn hear_main(&mut self, batch: Batch, now_ms: u64) {
        for record in batch.records {
            let (partition, next) = (record.partition, record.offset + 1);
            if let Some(item) = self.open(record, On::Notifications, Source::Main, now_ms) {
                self.overflow.hear(item, &mut self.lanes);
            }
            self.overflow.heard(partition, next);
        }
        for (place, next) in batch.passed {
            self.overflow.heard(place.partition, next);
        }
        self.overflow.advance(&mut self.lanes);
    }

    /// What was put back in: its rate is bounded by its job, and its lane by its weight.
    pub(crate) fn hear_redrive(&mut self, records: Vec<Record>, now_ms: u64) {
        for record in records {
            if let Some(item) = self.open(record, On::Redrive, Source::Redrive, now_ms) {
                self.lanes.push(item, Instant::now());
            }
        }
    }

    /// Records of the overflow.
    pub(crate) fn hear_overflow(&mut self, records: Vec<Record>, now_ms: u64) {
        for record in records {
            if let Some(item) = self.open(record, On::Overflow, Source::Overflow, now_ms) {
                self.overflow.follow(item);
            }
        }
        self.overflow.advance(&mut self.lanes);
    }

    /// It is known what the overflow of a partition holds.
    pub(crate) fn hear_found(&mut self, found: Found) {
        self.overflow.found(found, &mut self.lanes);
        self.overflow.advance(&mut self.lanes);
    }

    /// Something of the overflow is finished: who left it may have records that waited for that.
    pub(crate) fn hear_drained(&mut self) {
        self.overflow.advance(&mut self.lanes);
    }

    /// What goes to the overflow and comes from there.
    pub(crate) fn overflow(&mut self) -> &mut Overflow<C> {
        &mut self.overflow
    }

    /// Records of the ladder.
    pub(crate) fn hear_ladder(&mut self, records: Vec<Record>, now_ms: u64) {
        for record in records {
            // A topic that is no tier is none that was subscribed to.
            let rung = self.ladder.of_topic(&record.topic);
            let due_ms = rung.map_or(now_ms, |rung| rung.due_ms(record.timestamp_ms, now_ms));
            let partition = TopicPartition {
                topic: Arc::clone(&record.topic),
                partition: record.partition,
            };
            if let Some(item) = self.open(record, On::Ladder, Source::Ladder { due_ms }, now_ms) {
                self.waiting.push(&partition, due_ms, item);
            }
        }
    }

    fn open(&mut self, record: Record, on: On, source: Source, now_ms: u64) -> Option<Item> {
        #[cfg(feature = "seeded-bugs")]
        let record = match self.bug {
            Some(crate::seeded::SeededBug::SkipTenantCheck) => crate::seeded::believe_the_envelope(record),
            _ => record,
        };
        match open::item(record, on, source, &self.node, now_ms) {
            Ok(item) => Some(item),
            Err(ended) => {
                self.poison.push(*ended);
                None
            }
        }
    }

    /// A notification whose moment has come.
    pub(crate) fn hear_schedule(&mut self, due: DueNow, now_ms: u64) {
        let record = due_record(&due, &self.notifications);
        let source = Source::Schedule(due.place);
        if let Some(item) = self.open(record, On::Notifications, source, now_ms) {
            self.offer(item);
        }
    }

    /// An item that can be handled now.
    pub(crate) fn offer(&mut self, item: Item) {
        self.lanes.push(item, Instant::now());
    }

    /// Takes in what is due on the ladder.
    pub(crate) fn hear_time(&mut self, now_ms: u64) {
        while let Some((due_ms, mut item)) = self.waiting.take_due(now_ms) {
            item.source = Source::Ladder { due_ms };
            self.offer(item);
        }
    }

    /// Tells how the queues stand, of the busiest tenants by name.
    pub(crate) fn report(&mut self, queues: &Queues) {
        queues.show(self.lanes.report(TOP, Instant::now()), &self.overflow.report(TOP));
    }

    /// When the next record of the ladder is due.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.waiting.earliest()
    }

    /// Whether there is nothing to begin.
    pub(crate) fn is_empty(&self) -> bool {
        self.poison.is_empty() && self.lanes.is_empty()
    }

    /// Takes out what another router is about to get. (Poison goes on: its end is certain.) `of_notifications` are
    /// those of the notifications topic among them.
    pub(crate) fn revoke(&mut self, partitions: &[TopicPartition], of_notifications: &[i32]) -> Vec<Item> {
        let (mut gone, mirrors) = self.overflow.disown(of_notifications);
        let partitions = [partitions, &mirrors].concat();
        gone.extend(self.lanes.drop_partitions(&partitions));
        gone.extend(self.waiting.revoke(&partitions));
        gone
    }

    /// What is begun now: the checks apart from the others, because they are not stored again.
    pub(crate) fn take(&mut self, records: usize, bytes: usize) -> Vec<Work> {
        let items = self.lanes.take(records, bytes, Instant::now());
        self.overflow.advance(&mut self.lanes);
        let poison = std::mem::take(&mut self.poison);
        let (checks, items): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.travel.check);
        let mut works = Vec::with_capacity(2);
        if !items.is_empty() || !poison.is_empty() {
            works.push(Work::begin(items, poison, false));
        }
        if !checks.is_empty() {
            works.push(Work::begin(checks, Vec::new(), true));
        }
        works
    }
}

/// For a schedule of the simulation that fails.
#[cfg(test)]
impl<C> std::fmt::Debug for Intake<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (lanes, poison, due) = (self.lanes.len(), self.poison.len(), self.waiting.earliest());
        write!(
            f,
            "lanes {lanes}, poison {poison}, next due {due:?}, overflow {:?}",
            self.overflow
        )
    }
}

/// The record that a scheduled notification is handled as. It stands nowhere, and travels like one that stood on the
/// notifications topic.
fn due_record(due: &DueNow, topic: &Arc<str>) -> Record {
    let tenant = Bytes::copy_from_slice(due.place.tenant.as_str().as_bytes());
    let mut headers = Headers::with_capacity(3);
    headers.push_raw(headers::TENANT, tenant.clone());
    headers.push_raw(headers::ID, due.place.id.to_string());
    headers.push_raw(headers::SCHEMA, envelope::SCHEMA);
    Record {
        topic: Arc::clone(topic),
        partition: due.place.partition,
        offset: -1,
        timestamp_ms: None,
        key: Some(tenant),
        value: Some(due.bytes.clone()),
        headers,
    }
}
