//! The window: batches that were sent and wait for Kafka's answers.
//!
//! In: sends and their answers. Out: batches, oldest first, when each of their records has an answer.
//! Always: looking for answers can be given up and taken up again without losing one.

use std::{collections::VecDeque, time::Duration};

use carillon_bus::{Ack, Delivery, Record};
use carillon_store::NewNotification;
use tokio::time::Instant;

use crate::{
    verdict::{Outcome, Reason, verdict},
    work::{End, Work},
};

/// How one record's dispatch stands.
#[derive(Debug)]
pub(crate) enum Slot {
    /// Not sent: its turn has not come.
    Unsent,
    /// Sent, no answer yet.
    Waiting(Delivery),
    /// On the deliveries topic.
    Acked(Ack),
    /// Not there, for now.
    Failed(String),
    /// Never will be.
    Dead(Reason),
}

/// A batch that is through: `acks[i]` is the answer to `work.news[i]`.
pub(crate) struct Acknowledged {
    pub(crate) work: Work,
    pub(crate) acks: Vec<Ack>,
    pub(crate) took: Duration,
}

/// A batch that was sent.
pub(crate) struct Sent {
    work: Work,
    slots: Vec<Slot>,
    began: Instant,
    looked_at: usize,
    stopped: bool,
}

impl Sent {
    pub(crate) fn new(work: Work) -> Self {
        Self {
            slots: work.news.iter().map(|_| Slot::Unsent).collect(),
            work,
            began: Instant::now(),
            looked_at: 0,
            stopped: false,
        }
    }

    pub(crate) fn new_at(&self, at: usize) -> &NewNotification {
        &self.work.news[at]
    }

    pub(crate) fn record_at(&self, at: usize) -> &Record {
        &self.work.records[at]
    }

    /// What is to be sent, in order.
    pub(crate) fn unsent(&self) -> Vec<usize> {
        let open = |slot: &Slot| matches!(slot, Slot::Unsent | Slot::Failed(_));
        (0..self.slots.len())
            .filter(|&at| open(&self.slots[at]))
            .collect()
    }

    /// Begins to send what is to be sent.
    pub(crate) fn begin(&mut self) {
        self.looked_at = 0;
        self.stopped = false;
    }

    /// How a send went. Says whether the next may be sent.
    pub(crate) fn set(&mut self, at: usize, slot: Slot) -> bool {
        self.stopped |= matches!(slot, Slot::Unsent | Slot::Failed(_));
        self.slots[at] = slot;
        !self.stopped
    }

    /// Whether every record is acknowledged or ended.
    fn is_through(&self) -> bool {
        let through = |slot: &Slot| matches!(slot, Slot::Acked(_) | Slot::Dead(_));
        self.slots.iter().all(through)
    }

    /// The batch with its acknowledgements; what is not acknowledged leaves its way.
    fn through(mut self) -> Acknowledged {
        let mut acks = Vec::with_capacity(self.slots.len());
        let mut ends = Vec::new();
        for (at, slot) in self.slots.into_iter().enumerate() {
            match slot {
                Slot::Acked(ack) => acks.push(ack),
                Slot::Dead(reason) => ends.push((at, End::Dead(reason))),
                Slot::Unsent | Slot::Waiting(_) | Slot::Failed(_) => {}
            }
        }
        self.work.end(ends, true);
        Acknowledged {
            work: self.work,
            acks,
            took: self.began.elapsed(),
        }
    }

    /// Waits for the answer of every record that waits for one.
    async fn answered(&mut self) {
        while let Some(slot) = self.slots.get_mut(self.looked_at) {
            if let Slot::Waiting(delivery) = slot {
                *slot = match delivery.await {
                    Ok(ack) => Slot::Acked(ack),
                    Err(error) => Slot::of(verdict(Outcome::Send(error))),
                };
                self.stopped |= matches!(slot, Slot::Failed(_));
            }
            self.looked_at += 1;
        }
    }
}

/// Batches that were sent, oldest first. When it is full, nothing more is sent.
pub(crate) struct Window {
    sent: VecDeque<Sent>,
    bound: usize,
}

impl Window {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            sent: VecDeque::with_capacity(bound),
            bound,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Whether something newer may be sent: there is room, and nothing older is known to be unsent.
    pub(crate) fn has_room(&self) -> bool {
        self.sent.len() < self.bound && !self.sent.iter().any(|sent| sent.stopped)
    }

    pub(crate) fn push(&mut self, sent: Sent) {
        self.sent.push_back(sent);
    }

    /// The oldest batch, if it is through.
    pub(crate) fn pop(&mut self) -> Option<Acknowledged> {
        let first = self.sent.pop_front_if(|first| first.is_through())?;
        Some(first.through())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Sent> {
        self.sent.iter_mut()
    }

    /// Waits for every answer of the oldest batch. May be given up and taken up again.
    pub(crate) async fn first_answered(&mut self) {
        if let Some(first) = self.sent.front_mut() {
            first.answered().await;
        }
    }

    /// Waits for every answer of every batch.
    pub(crate) async fn all_answered(&mut self) {
        for sent in &mut self.sent {
            sent.answered().await;
        }
    }

    /// Whether something of the oldest batch is left to send.
    pub(crate) fn first_failed(&self) -> bool {
        self.sent.front().is_some_and(|first| !first.unsent().is_empty())
    }

    /// Why something is left to send: the reason of the oldest such record that was tried.
    pub(crate) fn failure(&self) -> Option<&str> {
        let mut slots = self.sent.iter().flat_map(|sent| &sent.slots);
        slots.find_map(|slot| match slot {
            Slot::Failed(reason) => Some(reason.as_str()),
            _ => None,
        })
    }
}
