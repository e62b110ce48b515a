//! A consumer: what is assigned, how far it was read, what of it is finished.
//!
//! In: assignments, records of the log. Out: records in order, commits. Always: the offsets are the real ones
//! (`LowWaterMarks`); like Kafka's library, a pause outlives a revoke, so that who assigns must resume.

use std::collections::{BTreeMap, BTreeSet};

use carillon_bus::{
    Record, TopicPartition,
    offsets::{LowWaterMarks, note},
};

use super::{Bug, log::Group, world::World};

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

    /// Below this, everything of the partition is finished.
    pub(super) fn mark(&self, at: &TopicPartition) -> Option<i64> {
        self.marks.get(&at.topic, at.partition)?.mark()
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
