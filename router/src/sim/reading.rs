//! Reading: how records of every source come to the intake, and what goes beside it to the overflow and back.
//!
//! In: records of the log and rows of the schedule. Out: the same in the router's own intake. Always: what two rooms
//! tell one another waits between them, so that anything may happen before it is heard.

use bytes::Bytes;
use carillon_bus::{Batch, Record, TopicPartition};
use carillon_schemas::headers;

use super::{
    Bug,
    log::Group,
    node::{Node, notifications, outgoing},
    world::{Effect, World},
};
use crate::{
    hold::Dependency,
    overflow::{Found, Placed, Seen},
    schedule::DueNow,
    sources::Source,
};

/// What the follower tells.
pub(super) enum Followed {
    Begun(Vec<TopicPartition>),
    Record(Record),
}

/// Most of that which is not heard.
const NOT_HEARD: usize = 6;

impl Node {
    /// Reads a record of the main group.
    pub(super) fn read(&mut self, world: &mut World, at: &TopicPartition) -> bool {
        let position = |node: &Self| node.consumers.main.borrow().positions.get(at).copied();
        let before = position(self);
        let read = self.consumers.main.borrow_mut().read(world, at);
        let after = position(self);
        if after == before {
            return false;
        }
        let now_ms = self.now_ms(world);
        let record = read.map(|record| self.handed_out(world, record, &Source::Main));
        if *at.topic == *world.log.names.redrive {
            self.intake.hear_redrive(record.into_iter().collect(), now_ms);
            return true;
        }
        let passed = after.filter(|_| record.is_none());
        let batch = Batch {
            records: record.into_iter().collect(),
            passed: passed.map(|next| (at.clone(), next)).into_iter().collect(),
        };
        self.intake.hear_main(batch, now_ms);
        true
    }

    /// With the seeded bugs that a record meets when it is read.
    fn handed_out(&self, world: &World, mut record: Record, source: &Source) -> Record {
        if world.has(Bug::SkipTenantCheck) {
            believe_the_envelope(&mut record);
        }
        if world.has(Bug::AckBeforeStore) {
            self.consumers.finished(&record, source);
        }
        record
    }

    /// Writes the next record that is on its way to the overflow, or hears where one stands.
    pub(super) fn overflow(&mut self, world: &mut World) -> bool {
        if self.writing.is_empty() {
            self.writing.extend(self.intake.overflow().next_spilled());
        }
        if (self.writing.is_empty() || world.rng.chance(50))
            && let Some(placed) = self.placed.pop_front()
        {
            self.intake.overflow().placed(&placed);
            return true;
        }
        let Some(item) = self.writing.front() else {
            return false;
        };
        let (partition, tenant) = (item.record.partition, item.tenant().clone());
        let topic = world.log.names.overflow.clone();
        let headers = item.travel.to_overflow(&item.record);
        let record = outgoing(&item.record, &topic, Some(partition), headers);
        let by = world.process(&item.record);
        if !self.may_ask(world, Dependency::Kafka) {
            return false;
        }
        if self.unaware.contains(&partition) || !self.has(world, partition) {
            world.written_unaware.insert(tenant.clone());
        }
        let written = world.produce(&by, Effect::Overflowed, record);
        self.answered(Dependency::Kafka, written.is_ok());
        if let Ok((_, offset)) = written {
            self.placed.push_back(Placed {
                partition,
                tenant,
                offset,
            });
            if let Some(item) = self.writing.pop_front() {
                self.finish(&item.record, &item.source);
            }
        }
        true
    }

    /// One step in looking through the overflow of a partition that was taken over.
    pub(super) fn scan(&mut self, world: &mut World) -> bool {
        if (self.looking.is_none() || world.rng.chance(50))
            && let Some(found) = self.found.pop_front()
        {
            self.intake.hear_found(found);
            return true;
        }
        if world.faults.kafka_down {
            return false;
        }
        let Some((take_over, from)) = self.looking.take() else {
            let asked = self.intake.overflow().next_asked();
            self.looking = asked.map(|take_over| {
                let main = notifications(world, take_over.partition);
                let committed = world.log.committed(Group::Main, &main);
                (take_over, committed.map_or(0, |(offset, _)| *offset))
            });
            return self.looking.is_some();
        };
        let partition = take_over.partition;
        let mut seen = Seen::default();
        let records = world.log.partition(&world.log.names.overflow, partition);
        for record in records.iter().skip(take_over.from as usize) {
            seen.see(record, &world.log.names.notifications, from);
        }
        let found = Found {
            partition,
            number: take_over.number,
            from,
            end: world.log.end(&notifications(world, partition)),
            records: seen.into_records(),
        };
        world.tell(|| format!("{} finds {found:?}", self.name));
        self.found.push_back(found);
        true
    }

    /// The follower's turn, and what of it is heard.
    pub(super) fn follow(&mut self, world: &mut World) -> bool {
        let mut any = false;
        if let Some(begun) = self.consumers.begin_and_end(world) {
            self.keep_paused();
            self.followed.push_back(Followed::Begun(begun));
            any = true;
        }
        let mine: Vec<_> = self
            .consumers
            .follower
            .borrow()
            .positions
            .keys()
            .cloned()
            .collect();
        for at in mine {
            if self.followed.len() < NOT_HEARD
                && let Some(record) = self.consumers.follower.borrow_mut().read(world, &at)
            {
                self.followed.push_back(Followed::Record(record));
                any = true;
            }
        }
        if any && world.rng.chance(50) {
            return true;
        }
        let now_ms = self.now_ms(world);
        match self.followed.pop_front() {
            Some(Followed::Begun(begun)) => self.intake.overflow().begun(&begun),
            Some(Followed::Record(record)) => {
                let record = self.handed_out(world, record, &Source::Overflow);
                self.intake.hear_overflow(vec![record], now_ms);
            }
            None if self.consumers.drained.get() && self.intake.overflow().keeps_back() => {
                self.consumers.drained.set(false);
                self.intake.hear_drained();
            }
            None => return any,
        }
        true
    }

    /// Reads a record of the ladder, which waits then.
    pub(super) fn climb(&mut self, world: &mut World, at: &TopicPartition) -> bool {
        let read = self.consumers.ladder.borrow_mut().read(world, at);
        let Some(record) = read else { return false };
        let record = self.handed_out(world, record, &Source::Ladder { due_ms: 0 });
        let now_ms = self.now_ms(world);
        self.intake.hear_ladder(vec![record], now_ms);
        true
    }

    /// Hands on what is due on the ladder.
    pub(super) fn wake(&mut self, world: &World) -> bool {
        let now_ms = self.now_ms(world);
        let is_due = self.intake.next_due_ms().is_some_and(|due| due <= now_ms);
        self.intake.hear_time(now_ms);
        is_due
    }

    /// R2: what comes from the ladder is due by the brokers' clock, where this router's is not ahead of it.
    pub(super) fn is_not_early(&self, world: &mut World, record: &Record) {
        let rung = self.tiers.of_topic(&record.topic);
        let delay = rung.map_or(0, |rung| rung.delay_ms);
        let due = record.timestamp_ms.unwrap_or(0) as u64 + delay;
        if !self.jumped && self.ahead_ms <= 0 && world.now_ms < due {
            let early = due - world.now_ms;
            let Record {
                topic,
                partition,
                offset,
                ..
            } = record;
            world.broken("R2", format!("{topic}/{partition}/{offset} is {early} ms early"));
        }
    }

    /// Hands on what is due in the schedule of a partition.
    pub(super) fn scan_schedule(&mut self, world: &mut World, partition: i32) -> bool {
        if !self.has(world, partition) || !self.may_ask(world, Dependency::Store) {
            return false;
        }
        let now = self.now_ms(world);
        let rows = world.ask(|store| store.due(partition, now));
        self.answered(Dependency::Store, rows.is_ok());
        let rows = rows.unwrap_or_default();
        let Some(place) = rows.into_iter().find(|row| !self.due.contains(row)) else {
            return false;
        };
        let row = world.store.row(&place.tenant, place.id);
        let Some(bytes): Option<Bytes> = row.and_then(|row| row.bytes.clone()) else {
            return false;
        };
        self.due.push(place.clone());
        self.intake.hear_schedule(DueNow { place, bytes }, now);
        true
    }
}

/// The seeded bug: who the record is bound to is not compared with whom the envelope names.
fn believe_the_envelope(record: &mut Record) {
    let envelope = record
        .value
        .as_ref()
        .map(|v| String::from_utf8_lossy(v).into_owned());
    let named = envelope
        .as_deref()
        .and_then(|text| text.split("\"tenant_id\":\"").nth(1));
    if let Some(tenant) = named.and_then(|rest| rest.split('"').next()) {
        record.headers.set(headers::TENANT, tenant.to_owned());
        record.key = Some(tenant.to_owned().into());
    }
}
