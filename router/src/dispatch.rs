//! Dispatching: deliveries onto their tenant's shard, and beside those that ask for an acknowledgement their check.
//!
//! In: persisted batches, in order. Out: the same batches with Kafka's acknowledgements, in order.
//! Always: sends are issued in the order of the source partition; while one failed nothing newer is sent,
//! and what failed is sent again, in order, before anything newer.

mod delivery_record;
mod window;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use carillon_bus::{Outgoing, Producer};
use carillon_chassis::clock::Clock;
use carillon_schemas::delivery::Repeat;
use tokio::sync::mpsc;

use crate::{
    hold::{Dependency, Holds, Site},
    ladder::Ladder,
    metrics::Meters,
    poison::Poison,
    verdict::{Outcome, Verdict, verdict},
    work::{Way, Work},
};
pub(crate) use delivery_record::Shards;
pub(crate) use window::Acknowledged;
use window::{Sent, Slot, Window};

/// How long an acknowledgement may take before Kafka is said to be in trouble. It is waited for all the same.
const NO_ANSWER: Duration = Duration::from_secs(5);

/// The room.
pub(crate) struct Dispatch {
    pub(crate) producer: Producer,
    pub(crate) shards: Shards,
    pub(crate) ladder: Arc<Ladder>,
    pub(crate) window: usize,
    pub(crate) holds: Arc<Holds>,
    pub(crate) meters: Meters,
    pub(crate) clock: Clock,
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
        let mut late = false;
        while open || !window.is_empty() {
            let give_notice = window.oldest() + NO_ANSWER;
            tokio::select! {
                biased;
                () = window.first_answered(), if !window.is_empty() => {
                    if std::mem::take(&mut late) {
                        self.holds.let_go(Site::Dispatch);
                    }
                    self.recover(&mut window).await;
                    if !self.hand_on(&mut window, &acknowledged).await {
                        return;
                    }
                }
                () = tokio::time::sleep_until(give_notice), if !window.is_empty() && !late => {
                    late = true;
                    self.holds.hold(Site::Dispatch, Dependency::Kafka, "deliveries are not acknowledged");
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
        if !batch.acks.is_empty() {
            self.holds.succeeded(Dependency::Kafka);
            self.meters.dispatch.observe(batch.took.as_secs_f64());
        }
        acknowledged.send(batch).await.is_ok()
    }

    fn send_all(&self, work: Work) -> Sent {
        let mut sent = Sent::new(work);
        self.send_unsent(&mut sent);
        sent
    }

    fn send_unsent(&self, sent: &mut Sent) -> bool {
        sent.send_unsent(|new, way, check| {
            let outgoing = match check {
                true => Ok(self.check(way)),
                false => self
                    .shards
                    .outgoing(new, way.record.headers.get(TRACE), repeat(way)),
            };
            self.send(outgoing, way)
        })
    }

    fn send(&self, outgoing: Result<Outgoing, Poison>, way: &Way) -> Slot {
        let outcome = match outgoing {
            Ok(outgoing) => match self.producer.send(outgoing) {
                Ok(delivery) => return Slot::Waiting(delivery),
                Err(error) => Outcome::Send(error),
            },
            Err(poison) => Outcome::Poison(poison),
        };
        Slot::of(verdict(outcome, &way.travel, self.clock.unix_ms()))
    }

    /// The record that asks on the ladder whether this dispatch was acknowledged.
    fn check(&self, way: &Way) -> Outgoing {
        let rung = self.ladder.check_after(way.travel.attempt);
        let due_ms = self.clock.unix_ms() + rung.delay_ms;
        moved(way, &rung.topic, way.travel.to_check(&way.record, due_ms))
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
            let Some(reason) = window.failure() else {
                return attempts.succeeded(Dependency::Kafka);
            };
            attempts.wait(Dependency::Kafka, reason).await;
            let mut unsent = window.iter_mut();
            while unsent.next().is_some_and(|sent| self.send_unsent(sent)) {}
        }
    }
}

const TRACE: &str = carillon_schemas::headers::TRACEPARENT;

/// What this dispatch says about itself.
pub(crate) fn repeat(way: &Way) -> Repeat {
    Repeat {
        delivery: way.travel.delivery,
        attempt: way.travel.attempt,
        replayed: false,
    }
}

/// A record on another topic, on the partition of its key.
pub(crate) fn moved(way: &Way, topic: &Arc<str>, headers: carillon_schemas::headers::Headers) -> Outgoing {
    let part = |bytes: &Option<Bytes>| bytes.clone().unwrap_or_default();
    Outgoing {
        topic: Arc::clone(topic),
        partition: None,
        key: part(&way.record.key),
        value: part(&way.record.value),
        headers,
    }
}

impl Slot {
    /// What an answer other than an acknowledgement comes to.
    fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::DeadLetter(reason) | Verdict::Retry(reason) => Self::Dead(reason),
            Verdict::Hold(_, reason) => Self::Failed(reason),
            Verdict::Done | Verdict::Proceed => Self::Unsent,
        }
    }
}
