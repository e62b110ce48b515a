//! The low-water mark of one partition.
//!
//! In: records that were read, finished or let go, in any order; what an earlier owner finished. Out: the
//! offset to commit with its note, and whether a record is to be handed out. Always: what is to be committed
//! is at or below the lowest unfinished record; a record that nobody finished is handed out. Pure.

use std::collections::VecDeque;

use crate::{
    TopicPartition,
    offsets::{
        Commit,
        note::{self, Ahead},
    },
};

/// What is handed out of one partition, from the lowest unfinished record up.
#[derive(Debug, Clone, Default)]
pub struct LowWaterMark {
    /// By offset, ascending; the first is unfinished.
    window: VecDeque<Entry>,
    /// Where the next record is expected: one above the highest that was read.
    next: Option<i64>,
    /// How many are in the owner's hands.
    open: usize,
    /// Bytes of their keys and values.
    open_bytes: usize,
    /// The time of the newest record that was read, Unix milliseconds.
    newest_ms: i64,
    /// Counts what became finished, so that a commit knows whether it says everything.
    version: u64,
    committed: Option<(i64, u64)>,
    /// What the owner before finished and was not read here yet.
    ahead: Ahead,
    /// It is not known yet what the owner before finished.
    waits: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: i64,
    /// Of its key and value.
    bytes: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    LetGo,
    Finished,
}

impl LowWaterMark {
    /// Of a partition that was just assigned: what the owner before finished is still to be heard.
    pub fn assigned() -> Self {
        Self {
            waits: true,
            ..Self::default()
        }
    }

    /// Whether [`LowWaterMark::hear`] is still to come.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// What the owner before finished, or that nobody knows. Only the first answer counts, and only before
    /// the first record.
    pub fn hear(&mut self, ahead: Option<Ahead>) {
        if self.waits && self.next.is_none() {
            self.ahead = ahead.unwrap_or_default();
        }
        self.waits = false;
    }

    /// A record was read, with so many bytes of key and value. Returns whether it is to be handed out; if not, the
    /// owner before finished it.
    ///
    /// When the reader went back (the log was cut, or its offset was reset), what stands at or above the
    /// record is forgotten: it will be read again, and may be something else by now.
    pub fn start(&mut self, offset: i64, timestamp_ms: Option<i64>, bytes: usize) -> bool {
        if offset < self.next.unwrap_or(self.ahead.mark) {
            let below = self.window.partition_point(|e| e.offset < offset);
            for gone in self.window.drain(below..).filter(|e| e.state == State::Open) {
                self.open -= 1;
                self.open_bytes -= gone.bytes as usize;
            }
            self.ahead = Ahead::default();
        }
        self.newest_ms = self.newest_ms.max(timestamp_ms.unwrap_or(0));
        self.next = Some(offset + 1);
        let done = self.ahead.takes(offset, timestamp_ms);
        let state = if done { State::Finished } else { State::Open };
        // No record of Kafka is larger.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if !done {
            self.open += 1;
            self.open_bytes += bytes as usize;
        }
        if !done || !self.window.is_empty() {
            self.window.push_back(Entry { offset, bytes, state });
        }
        !done
    }

    /// A record was finished. Returns whether that had an effect.
    pub fn finish(&mut self, offset: i64) -> bool {
        let Some(entry) = self.entry(offset) else {
            return false;
        };
        let before = std::mem::replace(&mut entry.state, State::Finished);
        let bytes = entry.bytes as usize;
        match before {
            State::Finished => return false,
            State::LetGo => {}
            State::Open => {
                self.open -= 1;
                self.open_bytes -= bytes;
            }
        }
        self.version += 1;
        while self.window.front().is_some_and(|e| e.state == State::Finished) {
            self.window.pop_front();
        }
        true
    }

    /// The owner will not finish this record: the partition is about to go.
    pub fn let_go(&mut self, offset: i64) {
        let Some(entry) = self.entry(offset) else { return };
        if entry.state == State::Open {
            entry.state = State::LetGo;
            let bytes = entry.bytes as usize;
            self.open -= 1;
            self.open_bytes -= bytes;
        }
    }

    fn entry(&mut self, offset: i64) -> Option<&mut Entry> {
        let at = self.window.binary_search_by_key(&offset, |e| e.offset).ok()?;
        self.window.get_mut(at)
    }

    /// The offset to commit: of the lowest unfinished record, or one above the highest. None before the
    /// first record.
    pub fn mark(&self) -> Option<i64> {
        self.window.front().map(|e| e.offset).or(self.next)
    }

    /// One above the highest record that was read.
    #[cfg(feature = "seeded-bugs")]
    pub(crate) fn next(&self) -> Option<i64> {
        self.next
    }

    /// How many records stand at or above the mark: what a crash right after a commit repeats at most.
    pub fn in_flight(&self) -> usize {
        self.window.len()
    }

    /// How many of them are in the owner's hands.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Bytes of keys and values in the owner's hands.
    pub fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// What to commit, unless that is committed already.
    pub fn due(&self, partition: &TopicPartition) -> Option<Commit> {
        let offset = self.mark()?;
        if self.committed == Some((offset, self.version)) {
            return None;
        }
        Some(Commit {
            partition: partition.clone(),
            offset,
            note: note::encode(partition, &self.above(offset)),
            version: self.version,
        })
    }

    /// A commit was acknowledged.
    pub fn committed(&mut self, commit: &Commit) {
        self.committed = Some((commit.offset, commit.version));
    }

    /// What is finished above the mark, here or by the owner before.
    fn above(&self, mark: i64) -> Ahead {
        let mut runs: VecDeque<(i64, i64)> = VecDeque::new();
        let mut add = |from: i64, to: i64| match runs.back_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => runs.push_back((from, to)),
        };
        let finished = self.window.iter().filter(|e| e.state == State::Finished);
        finished.for_each(|e| add(e.offset, e.offset + 1));
        let next = self.next.unwrap_or(mark);
        let mut newest_ms = self.newest_ms;
        for &(from, to) in self.ahead.runs.iter().filter(|&&(_, to)| to > next) {
            newest_ms = newest_ms.max(self.ahead.newest_ms);
            add(from.max(next), to);
        }
        Ahead {
            mark,
            newest_ms,
            runs,
        }
    }
}
