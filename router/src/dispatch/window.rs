//! The window: batches that were sent and wait for Kafka's answers.
//!
//! In: sends and their answers. Out: batches, oldest first, when each of their records has an answer.
//! Always: looking for answers can be given up and taken up again without losing one; a record that asks for an
//! acknowledgement is through when its delivery and its check are.

use std::{collections::VecDeque, time::Duration};

use carillon_bus::{Ack, Delivery};
use carillon_store::NewNotification;
use tokio::time::Instant;

use crate::{
    verdict::{Outcome, Reason, verdict},
    work::{End, Way, Work},
};

/// How one send stands.
#[derive(Debug)]
pub(crate) enum Slot {
    /// Not sent: its turn has not come.
    Unsent,
    /// Sent, no answer yet.
    Waiting(Delivery),
    /// On its topic.
    Acked(Ack),
    /// Not there, for now.
    Failed(String),
    /// Never will be.
    Dead(Reason),
}

/// Something to send.
#[derive(Debug)]
struct Part {
    /// Of which record of the batch.
    at: usize,
    /// Its check, not its delivery.
    check: bool,
    slot: Slot,
}

/// A batch that is through: `acks[i]` is the answer to `work.news[i]`.
pub(crate) struct Acknowledged {
    pub(crate) work: Work,
    pub(crate) acks: Vec<Ack>,
    pub(crate) took: Duration,
}

/// A batch that was sent: first its deliveries in order, then its checks.
pub(crate) struct Sent {
    work: Work,
    parts: Vec<Part>,
    began: Instant,
    looked_at: usize,
    stopped: bool,
}

impl Sent {
    pub(crate) fn new(work: Work) -> Self {
        let part = |check| {
            move |at| Part {
                at,
                check,
                slot: Slot::Unsent,
            }
        };
        let asks = |at: &usize| work.news[*at].envelope.require_ack;
        let deliveries = (0..work.news.len()).map(part(false));
        let checks = (0..work.news.len()).filter(asks).map(part(true));
        Self {
            parts: deliveries.chain(checks).collect(),
            work,
            began: Instant::now(),
            looked_at: 0,
            stopped: false,
        }
    }

    /// Sends what is to be sent, in order, up to the first that cannot be now. Says whether it came to the end.
    pub(crate) fn send_unsent(&mut self, send: impl Fn(&NewNotification, &Way, bool) -> Slot) -> bool {
        self.looked_at = 0;
        self.stopped = false;
        for part in &mut self.parts {
            if !matches!(part.slot, Slot::Unsent | Slot::Failed(_)) {
                continue;
            }
            part.slot = send(&self.work.news[part.at], &self.work.ways[part.at], part.check);
            if matches!(part.slot, Slot::Unsent | Slot::Failed(_)) {
                self.stopped = true;
                break;
            }
        }
        !self.stopped
    }

    /// Whether something is left to send.
    fn is_unsent(&self) -> bool {
        let open = |part: &Part| matches!(part.slot, Slot::Unsent | Slot::Failed(_));
        self.parts.iter().any(open)
    }

    /// Whether every record is acknowledged or ended.
    fn is_through(&self) -> bool {
        let through = |part: &Part| matches!(part.slot, Slot::Acked(_) | Slot::Dead(_));
        self.parts.iter().all(through)
    }

    /// The batch with its acknowledgements; what is not acknowledged leaves its way. A check without its delivery
    /// finds a dead letter when it is due.
    fn through(mut self) -> Acknowledged {
        let mut acks = Vec::with_capacity(self.work.news.len());
        let mut ends = Vec::new();
        for part in self.parts {
            match part.slot {
                Slot::Acked(ack) if !part.check => acks.push(ack),
                Slot::Dead(reason) if !part.check => ends.push((part.at, End::Dead(reason))),
                // The retry topics take more than the deliveries topic: then there is no delivery either.
                _ => {}
            }
        }
        self.work.end(ends);
        Acknowledged {
            work: self.work,
            acks,
            took: self.began.elapsed(),
        }
    }

    /// Waits for the answer of every send that waits for one.
    async fn answered(&mut self) {
        while let Some(part) = self.parts.get_mut(self.looked_at) {
            if let Slot::Waiting(delivery) = &mut part.slot {
                part.slot = match delivery.await {
                    Ok(ack) => Slot::Acked(ack),
                    Err(error) => {
                        let travel = &self.work.ways[part.at].travel;
                        Slot::of(verdict(
                            Outcome::Send(error),
                            travel,
                            self.work.news[part.at].at_ms,
                        ))
                    }
                };
                self.stopped |= matches!(part.slot, Slot::Failed(_));
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

    /// When the oldest batch was sent; now without one.
    pub(crate) fn oldest(&self) -> Instant {
        self.sent.front().map_or_else(Instant::now, |first| first.began)
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
        self.sent.front().is_some_and(Sent::is_unsent)
    }

    /// Why something is left to send: the reason of the oldest such record that was tried.
    pub(crate) fn failure(&self) -> Option<&str> {
        let mut parts = self.sent.iter().flat_map(|sent| &sent.parts);
        parts.find_map(|part| match &part.slot {
            Slot::Failed(reason) => Some(reason.as_str()),
            _ => None,
        })
    }
}
