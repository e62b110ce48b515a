//! Handing over: from the poll thread into the owner's queue.
//!
//! In: events, in order. Out: events in the queue, in the same order. Always: the poll thread waits for a
//! full queue only for a moment; what does not fit is held, in order, and tried again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{
    Record, TopicPartition,
    consumer::{Event, Shared},
};

/// How long a full queue is waited for before the partitions are paused. Pausing throws away what was
/// fetched ahead, so a queue that is full for a moment should not cause it; and it is far below the
/// interval at which a member must be polled.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often the queue is looked at meanwhile.
const LOOK: Duration = Duration::from_micros(500);

/// The way into the owner's queue.
pub(crate) struct HandOver {
    queue: mpsc::Sender<Event>,
    held: VecDeque<Event>,
    /// Since when the queue is full, while it is waited for.
    full_since: Option<Instant>,
    /// It was full for so long that the partitions are paused.
    paused: bool,
}

/// How a try ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    /// Nothing is held.
    All,
    /// The queue is full; wait a moment and try again.
    Wait,
    /// It has been full for long, and half of it is not free yet: keep the partitions paused and poll.
    Full,
    /// The owner is gone.
    Gone,
}

impl HandOver {
    pub(crate) fn new(queue: mpsc::Sender<Event>) -> Self {
        Self {
            queue,
            held: VecDeque::new(),
            full_since: None,
            paused: false,
        }
    }

    /// Holds an event behind those that are held.
    pub(crate) fn push(&mut self, event: Event) {
        self.held.push_back(event);
    }

    /// Forgets held records of partitions that go: nobody will finish them.
    pub(crate) fn forget(&mut self, partitions: &[TopicPartition], shared: &Shared) {
        let mut marks = shared.marks.lock();
        let mut stays = |record: &Record| {
            let goes = |p: &TopicPartition| p.partition == record.partition && p.topic == record.topic;
            if !partitions.iter().any(goes) {
                return true;
            }
            if let Some(mark) = marks.get_mut(&record.topic, record.partition) {
                mark.let_go(record.offset);
            }
            false
        };
        self.held.retain_mut(|event| match event {
            Event::Records(batch) => {
                batch.records.retain(&mut stays);
                !batch.records.is_empty() || !batch.passed.is_empty()
            }
            Event::Assigned(_) | Event::Revoked(_) => true,
        });
    }

    /// Hands over what fits.
    pub(crate) fn try_all(&mut self) -> Handed {
        while let Some(event) = self.held.pop_front() {
            match self.queue.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return Handed::Gone,
                Err(TrySendError::Full(event)) => {
                    self.held.push_front(event);
                    let since = *self.full_since.get_or_insert_with(Instant::now);
                    self.paused |= since.elapsed() >= PATIENCE;
                    return if self.paused { Handed::Full } else { Handed::Wait };
                }
            }
        }
        // Going on at the first free place would pause again at once.
        if self.paused && self.queue.capacity() < self.queue.max_capacity() / 2 {
            return Handed::Full;
        }
        self.full_since = None;
        self.paused = false;
        Handed::All
    }

    /// Waits a moment on the poll thread.
    pub(crate) fn wait() {
        std::thread::sleep(LOOK);
    }
}
