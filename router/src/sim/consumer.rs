//! A consumer: what is assigned, how far it was read, what of it is finished.
//!
//! In: assignments, records of the log. Out: records in order, commits. Always: the offsets are the real ones
//! (`LowWaterMarks`); like Kafka's library, a pause outlives a revoke, so that who assigns must resume.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use carillon_bus::{
    Record, TopicPartition,
    offsets::{LowWaterMarks, note},
};

use super::{
    Bug,
    log::{Group, Log},
    world::World,
};
use crate::{overflow, sources::Source, work::Item};

/// Most records of a partition that are unfinished.
const IN_FLIGHT: usize = 12;

/// A member of a group.
pub(super) struct Consumer {
    pub(super) group: Group,
    pub(super) marks: LowWaterMarks,
    /// Where each assigned partition is read next.
    pub(super) positions: BTreeMap<TopicPartition, i64>,
    paused: BTreeSet<TopicPartition>,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open = self.marks.iter().filter(|(_, mark)| mark.open() > 0);
        let open: Vec<_> = open
            .map(|(at, mark)| format!("{at}: {} open", mark.open()))
            .collect();
        write!(f, "{:?} {open:?} paused {:?}", self.group, self.paused)
    }
}

impl Consumer {
    pub(super) fn new(group: Group) -> Self {
        Self {
            group,
            marks: LowWaterMarks::default(),
            positions: BTreeMap::new(),
            paused: BTreeSet::new(),
        }
    }

    /// Gives where the partition is read from.
    pub(super) fn assign(&mut self, world: &World, at: &TopicPartition) -> i64 {
        let committed = world.log.committed(self.group, at);
        let from = committed.map_or(0, |(offset, _)| *offset);
        let ahead = committed.and_then(|(offset, text)| note::decode(at, *offset, text));
        self.marks.assign(at);
        if let Some(mark) = self.marks.get_mut(&at.topic, at.partition) {
            mark.hear(ahead);
        }
        self.positions.insert(at.clone(), from);
        if !world.has(Bug::NoResumeAfterRebalance) {
            self.paused.remove(at);
        }
        from
    }

    pub(super) fn revoke(&mut self, at: &TopicPartition) {
        self.marks.revoke(at);
        self.positions.remove(at);
    }

    pub(super) fn pause_all(&mut self, pause: bool) {
        for at in self.positions.keys() {
            if pause {
                self.paused.insert(at.clone());
            } else {
                self.paused.remove(at);
            }
        }
    }

    /// Reads one record. What the owner before finished is passed over.
    pub(super) fn read(&mut self, world: &World, at: &TopicPartition) -> Option<Record> {
        let mark = self.marks.get_mut(&at.topic, at.partition)?;
        let position = self.positions.get_mut(at)?;
        if self.paused.contains(at) {
            return None;
        }
        while mark.open() < IN_FLIGHT
            && let Some(record) = world.log.read(at, *position)
        {
            *position += 1;
            if mark.start(record.offset, record.timestamp_ms, record.size()) {
                return Some(record.clone());
            }
        }
        None
    }

    pub(super) fn finish(&mut self, record: &Record) {
        if let Some(mark) = self.marks.get_mut(&record.topic, record.partition) {
            mark.finish(record.offset);
        }
    }

    fn let_go(&mut self, record: &Record) {
        if let Some(mark) = self.marks.get_mut(&record.topic, record.partition) {
            mark.let_go(record.offset);
        }
    }

    /// Commits what is due, where the group still takes it from this member.
    pub(super) fn commit(&mut self, world: &mut World, takes: impl Fn(&TopicPartition) -> bool) -> bool {
        if world.faults.kafka_down {
            return false;
        }
        let mut due = self.marks.due();
        due.sort_by(|a, b| a.partition.cmp(&b.partition));
        due.retain(|commit| takes(&commit.partition));
        for commit in &due {
            let (mut offset, mut note) = (commit.offset, commit.note.clone());
            if world.has(Bug::CommitHighWater)
                && let Some(position) = self.positions.get(&commit.partition)
            {
                (offset, note) = (*position, String::new());
            }
            world.commit(self.group, &commit.partition, offset, note);
        }
        self.marks.committed(&due);
        !due.is_empty()
    }
}

/// The consumers of a router.
#[derive(Debug)]
pub(super) struct Consumers {
    pub(super) main: RefCell<Consumer>,
    pub(super) ladder: RefCell<Consumer>,
    pub(super) follower: RefCell<Consumer>,
    /// Something of the overflow was finished.
    pub(super) drained: Cell<bool>,
    overflow: Arc<str>,
    wishes: RefCell<Wishes>,
}

/// What the follower is to have, and what it has: as in the bus, what was wanted anew is another wish.
#[derive(Debug, Default)]
struct Wishes {
    count: u64,
    wanted: BTreeMap<i32, u64>,
    has: BTreeMap<i32, u64>,
    begun_at: BTreeMap<i32, i64>,
}

impl Consumers {
    pub(super) fn new(log: &Log) -> Self {
        Self {
            main: RefCell::new(Consumer::new(Group::Main)),
            ladder: RefCell::new(Consumer::new(Group::Ladder)),
            follower: RefCell::new(Consumer::new(Group::Overflow)),
            drained: Cell::new(false),
            overflow: log.names.overflow.as_str().into(),
            wishes: RefCell::default(),
        }
    }

    pub(super) fn of(&self, group: Group) -> &RefCell<Consumer> {
        match group {
            Group::Main => &self.main,
            Group::Ladder => &self.ladder,
            Group::Overflow => &self.follower,
        }
    }

    /// Who has a record to finish; nobody what came from the schedule.
    fn source(&self, source: &Source) -> Option<&RefCell<Consumer>> {
        match source {
            Source::Main | Source::Redrive => Some(&self.main),
            Source::Ladder { .. } => Some(&self.ladder),
            Source::Overflow => Some(&self.follower),
            Source::Schedule(_) => None,
        }
    }

    pub(super) fn finished(&self, record: &Record, source: &Source) {
        if let Some(consumer) = self.source(source) {
            consumer.borrow_mut().finish(record);
        }
        if *source == Source::Overflow {
            self.drained.set(true);
        }
    }

    pub(super) fn pause_all(&self, pause: bool) {
        for consumer in [&self.main, &self.ladder, &self.follower] {
            consumer.borrow_mut().pause_all(pause);
        }
    }

    /// The follower's turn to see what it is to have. Gives what it begins; `None` when it has what it is to have.
    pub(super) fn begin_and_end(&self, world: &World) -> Option<Vec<TopicPartition>> {
        let wishes = &mut *self.wishes.borrow_mut();
        if wishes.has == wishes.wanted {
            return None;
        }
        let mut follower = self.follower.borrow_mut();
        let at = |partition| TopicPartition {
            topic: Arc::clone(&self.overflow),
            partition,
        };
        for (&partition, wish) in &wishes.has {
            if wishes.wanted.get(&partition) != Some(wish) {
                follower.revoke(&at(partition));
            }
        }
        let mut begun = Vec::new();
        for (&partition, wish) in &wishes.wanted {
            if wishes.has.get(&partition) != Some(wish) {
                let from = follower.assign(world, &at(partition));
                wishes.begun_at.insert(partition, from);
                begun.push(at(partition));
            }
        }
        wishes.has = wishes.wanted.clone();
        Some(begun)
    }
}

impl overflow::Consumers for Rc<Consumers> {
    fn follow(&self, partitions: &[i32]) {
        let wishes = &mut *self.wishes.borrow_mut();
        for partition in partitions {
            wishes.count += 1;
            wishes.wanted.entry(*partition).or_insert(wishes.count);
        }
    }

    fn unfollow(&self, partitions: &[i32]) {
        let mut wishes = self.wishes.borrow_mut();
        for partition in partitions {
            wishes.wanted.remove(partition);
            wishes.begun_at.remove(partition);
        }
    }

    fn begun_at(&self, partition: i32) -> Option<i64> {
        self.wishes.borrow().begun_at.get(&partition).copied()
    }

    fn low_water(&self, topic: &str, partition: i32) -> Option<i64> {
        self.follower.borrow().marks.get(topic, partition)?.mark()
    }

    fn finish(&self, item: &Item) {
        self.finished(&item.record, &item.source);
    }

    fn let_go(&self, item: &Item) {
        if let Some(consumer) = self.source(&item.source) {
            consumer.borrow_mut().let_go(&item.record);
        }
    }
}
