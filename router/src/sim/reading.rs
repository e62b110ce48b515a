//! Reading: how records of every source come before the queue.
//!
//! In: records of the log and rows of the schedule. Out: items that wait for their turn, poison on its way to its
//! end. Always: the ways are those of the ledger; what is due is the ladder's word.

use std::sync::Arc;

use carillon_bus::{Record, TopicPartition};
use carillon_schemas::headers;

use super::{
    Bug,
    node::{Flight, Node, notifications, outgoing, overflow},
    world::{Effect, World},
};
use crate::{
    fair::ledger::Way as Path,
    hold::Dependency,
    open,
    sources::Source,
    travel::On,
    work::{Ended, Item},
};

impl Node {
    /// Reads a record of the main group.
    pub(super) fn read(&mut self, world: &mut World, at: &TopicPartition) -> bool {
        let redrive = *at.topic == *world.log.names.redrive;
        if !redrive && !self.ledger.is_ready(at.partition) || self.fair.len() > 24 {
            return false;
        }
        let read = self.main.read(world, at);
        if !redrive && let Some(position) = self.main.positions.get(at) {
            // What was passed over counts, and the record itself only when its way is known.
            let next = position - i64::from(read.is_some());
            self.ledger.read(at.partition, next);
        }
        let Some(record) = read else { return false };
        let on = if redrive { On::Redrive } else { On::Notifications };
        let (partition, offset) = (record.partition, record.offset);
        if let Some(item) = self.open(world, record, on, Source::Main) {
            self.release(world, partition);
            self.hand_on(world, item, redrive);
        }
        if !redrive {
            self.ledger.read(partition, offset + 1);
        }
        true
    }

    fn hand_on(&mut self, world: &mut World, item: Item, redrive: bool) {
        let (partition, offset) = (item.record.partition, item.record.offset);
        let tenant = item.tenant().clone();
        let path = match redrive {
            // Put back in at a rate that its lane can take; the simulation just lets it in.
            true => Path::Push,
            false => self.ledger.way(partition, &tenant, offset),
        };
        world.tell(|| format!("{} reads {partition}/{offset} of {tenant}: {path:?}", self.name));
        let over = match path {
            Path::Wait => unreachable!("read only when it is ready"),
            Path::There => {
                self.main.finish(&item.record);
                return;
            }
            Path::Push => {
                self.fair.push(item, self.began);
                return;
            }
            Path::Offer => match self.fair.offer(item, self.began) {
                Ok(()) => return,
                Err(item) => item,
            },
            Path::Overflow => item,
            Path::KeepBack => return self.keep_back(item),
        };
        self.spill(over);
    }

    fn spill(&mut self, item: Item) {
        self.ledger.enter(item.record.partition, item.tenant());
        self.overflowing.push_back(item);
    }

    fn keep_back(&mut self, item: Item) {
        let (partition, tenant) = (item.record.partition, item.tenant().clone());
        let fits = self.ledger.keep(partition, &tenant, item.bytes());
        self.kept.push(item);
        if !fits {
            let kept = self.kept.take(partition, &tenant);
            kept.into_iter().for_each(|item| self.spill(item));
        }
    }

    /// What need not be kept back any longer goes on. Says whether there was something.
    fn release(&mut self, world: &mut World, partition: i32) -> bool {
        let mut any = false;
        while let Some(tenant) = self.ledger.released(partition) {
            any = true;
            for item in self.kept.take(partition, &tenant) {
                self.hand_on(world, item, false);
            }
        }
        any
    }

    /// Opens a record; poison goes its own way at once.
    fn open(&mut self, world: &mut World, mut record: Record, on: On, source: Source) -> Option<Item> {
        if world.has(Bug::SkipTenantCheck) {
            believe_the_envelope(&mut record);
        }
        let by = world.process(&record);
        let ended = match open::item(record, on, source, &self.name, self.now_ms(world)) {
            Ok(item) => {
                if world.has(Bug::AckBeforeStore) {
                    self.finish(world, &item.record, &item.source);
                }
                return Some(item);
            }
            Err(ended) => *ended,
        };
        let Ended { way, new, end } = ended;
        let mut flight = Flight::new(by, way.record, way.source, way.travel, new);
        flight.end = Some(end);
        self.settling.push_back(flight);
        None
    }

    /// Writes the first record that is on its way to the overflow.
    pub(super) fn overflow(&mut self, world: &mut World) -> bool {
        let Some(item) = self.overflowing.front() else {
            return false;
        };
        let (partition, tenant) = (item.record.partition, item.tenant().clone());
        let headers = item.travel.to_overflow(&item.record);
        let outgoing = outgoing(
            &item.record,
            &world.log.names.overflow.clone(),
            Some(partition),
            headers,
        );
        if !self.may_ask(world, Dependency::Kafka) {
            return false;
        }
        let Some(item) = self.overflowing.front() else {
            return false;
        };
        let by = world.process(&item.record);
        if self.unaware.contains(&partition) {
            world.written_unaware.insert(tenant.clone());
        }
        match world.produce(&by, Effect::Overflowed, outgoing) {
            Ok((_, offset)) => {
                self.answered(Dependency::Kafka, true);
                self.ledger.placed(partition, &tenant, offset);
                if let Some(item) = self.overflowing.pop_front() {
                    self.finish(world, &item.record, &item.source);
                }
            }
            Err(_) => self.answered(Dependency::Kafka, false),
        }
        true
    }

    /// Looks through the overflow of a partition that was taken over.
    pub(super) fn scan(&mut self, world: &mut World, partition: i32) -> bool {
        let main = notifications(world, partition);
        if self.ledger.is_ready(partition) || !self.main.positions.contains_key(&main) {
            return false;
        }
        let at = overflow(world, partition);
        let from = self.follower.positions.get(&at).copied().unwrap_or(0);
        let records = world.log.partition(&at.topic, partition);
        for record in records.iter().skip(from as usize) {
            let Some(tenant) = record.headers.text(headers::TENANT).and_then(|t| t.parse().ok()) else {
                continue;
            };
            self.ledger
                .found(partition, &tenant, record.offset, place_of(world, record));
        }
        self.ledger.scanned(partition, world.log.end(&main));
        world.tell(|| {
            format!(
                "{} found {:?} in {at} from {from}",
                self.name,
                self.ledger.report(9)
            )
        });
        true
    }

    /// Hands on the next record of the overflow, and what need not be kept back any longer.
    pub(super) fn follow(&mut self, world: &mut World, partition: i32) -> bool {
        // The scan begins at what is committed: before it is over, the follower stays there.
        if !self.ledger.is_ready(partition) {
            return false;
        }
        let follows = self.follow_next(world, partition);
        self.release(world, partition) || follows
    }

    fn follow_next(&mut self, world: &mut World, partition: i32) -> bool {
        let at = overflow(world, partition);
        let waits = self
            .following
            .iter()
            .position(|item| item.record.partition == partition);
        let item = match waits {
            Some(at) => self.following.remove(at),
            None => {
                let read = self.follower.read(world, &at);
                self.passed(world, partition);
                let Some(record) = read else { return false };
                match self.open(world, record, On::Overflow, Source::Overflow) {
                    Some(item) => item,
                    None => return true,
                }
            }
        };
        let (offset, place) = (item.record.offset, place_of(world, &item.record));
        let may = self.ledger.may_follow(partition, offset, place)
            && !self.fair.is_full(item.tenant(), item.class(), item.bytes());
        if may {
            self.ledger.handed_on(partition, item.tenant(), offset);
            self.fair.push(item, self.began);
        } else {
            self.following.push(item);
        }
        may
    }

    /// Reads a record of the ladder, which waits then.
    pub(super) fn climb(&mut self, world: &mut World, at: &TopicPartition) -> bool {
        let Some(record) = self.ladder.read(world, at) else {
            return false;
        };
        let now = self.now_ms(world);
        let due = self
            .tiers
            .of_topic(&at.topic)
            .map_or(now, |rung| rung.due_ms(record.timestamp_ms, now));
        if let Some(item) = self.open(world, record, On::Ladder, Source::Ladder { due_ms: due }) {
            self.waiting.push(at, due, item);
        }
        true
    }

    /// Hands on what is due on the ladder.
    pub(super) fn wake(&mut self, world: &mut World) -> bool {
        let Some((due, item)) = self.waiting.take_due(self.now_ms(world)) else {
            return false;
        };
        let at = TopicPartition {
            topic: Arc::clone(&item.record.topic),
            partition: item.record.partition,
        };
        let delay = self.tiers.of_topic(&at.topic).map_or(0, |rung| rung.delay_ms);
        let written = item.record.timestamp_ms.unwrap_or(0) as u64;
        if !self.jumped && self.ahead_ms <= 0 && world.now_ms < written + delay {
            let early = written + delay - world.now_ms;
            world.broken("R2", format!("{at}/{} is {early} ms early", item.record.offset));
        }
        match self.fair.offer(item, self.began) {
            Ok(()) => true,
            Err(item) => {
                self.waiting.put_back(&at, due, item);
                false
            }
        }
    }

    /// Hands on what is due in the schedule of a partition.
    pub(super) fn scan_schedule(&mut self, world: &mut World, partition: i32) -> bool {
        let main = notifications(world, partition);
        if !self.main.positions.contains_key(&main) || !self.may_ask(world, Dependency::Store) {
            return false;
        }
        let now = self.now_ms(world);
        let rows = world.ask(|store| store.due(partition, now));
        self.answered(Dependency::Store, rows.is_ok());
        let rows = rows.unwrap_or_default();
        let Some(row) = rows.into_iter().find(|row| !self.due.contains(row)) else {
            return false;
        };
        let bytes = world.store.row(&row.tenant, row.id).and_then(|r| r.bytes.clone());
        let Some(bytes) = bytes else { return false };
        let mut headers = headers::Headers::default();
        let key = bytes::Bytes::copy_from_slice(row.tenant.as_str().as_bytes());
        headers.set(headers::TENANT, key.clone());
        headers.set(headers::ID, row.id.to_string());
        let record = Record {
            topic: "schedule".into(),
            partition,
            offset: row.due_at_ms as i64,
            timestamp_ms: None,
            key: Some(key),
            value: Some(bytes),
            headers,
        };
        self.due.push(row.clone());
        let source = Source::Schedule(row);
        if let Some(item) = self.open(world, record, On::Notifications, source) {
            self.fair.push(item, self.began);
        }
        true
    }
}

/// Where a record of the overflow stood in the notifications partition, if it came from there.
fn place_of(world: &World, record: &Record) -> Option<i64> {
    let mut parts = record.headers.text(headers::ORIGIN)?.rsplit('/');
    let offset = parts.next()?.parse().ok()?;
    let partition: i32 = parts.next()?.parse().ok()?;
    let here = parts.next() == Some(&*world.log.names.notifications) && partition == record.partition;
    here.then_some(offset)
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
