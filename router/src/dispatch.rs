//! Dispatching: deliveries onto their tenant's shard.
//!
//! In: persisted batches, in order. Out: the same batches with Kafka's acknowledgements, in order.
//! Always: sends are issued in the order of the source partition; while one failed nothing newer is sent,
//! and what failed is sent again, in order, before anything newer.

mod delivery_record;
mod window;

use std::sync::Arc;

use carillon_bus::{Producer, Record};
use carillon_store::NewNotification;
use tokio::sync::mpsc;

use crate::{
    hold::{Dependency, Holds, Site},
    metrics::Meters,
    open::FIRST_ATTEMPT,
    verdict::{Outcome, Verdict, verdict},
    work::Work,
};
pub(crate) use delivery_record::Shards;
pub(crate) use window::Acknowledged;
use window::{Sent, Slot, Window};

/// Which deliberate repeat a first dispatch is.
pub(crate) const FIRST_DELIVERY: u32 = FIRST_ATTEMPT as u32;

/// The room.
pub(crate) struct Dispatch {
    pub(crate) producer: Producer,
    pub(crate) shards: Shards,
    pub(crate) window: usize,
    pub(crate) holds: Arc<Holds>,
    pub(crate) meters: Meters,
}

impl Dispatch {
    /// Dispatches batch after batch until there are no more.
    pub(crate) async fn run(
        &self,
        mut persisted: mpsc::Receiver<Work>,
        acknowledged: mpsc::Sender<Acknowledged>,
    ) {
        let mut window = Window::new(self.window);
        let mut open = true;
        while open || !window.is_empty() {
            tokio::select! {
                biased;
                () = window.first_answered(), if !window.is_empty() => {
                    self.recover(&mut window).await;
                    if !self.hand_on(&mut window, &acknowledged).await {
                        return;
                    }
                }
                work = persisted.recv(), if open && window.has_room() => match work {
                    Some(work) => window.push(self.send_all(work)),
                    None => open = false,
                },
            }
        }
    }

    async fn hand_on(&self, window: &mut Window, acknowledged: &mpsc::Sender<Acknowledged>) -> bool {
        let Some(batch) = window.pop() else { return true };
        self.meters.dispatch.observe(batch.took.as_secs_f64());
        acknowledged.send(batch).await.is_ok()
    }

    fn send_all(&self, work: Work) -> Sent {
        let mut sent = Sent::new(work);
        self.send_unsent(&mut sent);
        sent
    }

    /// Sends what is not sent, in order, up to the first that cannot be now. Says whether it came to the end.
    fn send_unsent(&self, sent: &mut Sent) -> bool {
        sent.begin();
        sent.unsent().into_iter().all(|at| {
            let slot = self.send(sent.new_at(at), sent.record_at(at));
            sent.set(at, slot)
        })
    }

    fn send(&self, new: &NewNotification, record: &Record) -> Slot {
        let outgoing = match self.shards.outgoing(new, record) {
            Ok(outgoing) => outgoing,
            Err(poison) => return Slot::of(verdict(Outcome::Poison(poison))),
        };
        match self.producer.send(outgoing) {
            Ok(delivery) => Slot::Waiting(delivery),
            Err(error) => Slot::of(verdict(Outcome::Send(error))),
        }
    }

    /// Where a send failed: looks at every answer of the window, then sends again what failed, in order,
    /// until nothing is left. Nothing newer is sent meanwhile.
    async fn recover(&self, window: &mut Window) {
        if !window.first_failed() {
            return;
        }
        let mut attempts = self.holds.attempts(Site::Dispatch);
        loop {
            window.all_answered().await;
            let Some(reason) = window.failure() else { return };
            attempts.wait(Dependency::Kafka, reason).await;
            let mut unsent = window.iter_mut();
            while unsent.next().is_some_and(|sent| self.send_unsent(sent)) {}
        }
    }
}

impl Slot {
    /// What an answer other than an acknowledgement comes to.
    fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::DeadLetter(reason) => Self::Dead(reason),
            Verdict::Hold(_, reason) => Self::Failed(reason),
            Verdict::Done | Verdict::Proceed => Self::Unsent,
        }
    }
}
