//! Listening: the first stage, which hears every source and begins batches.
//!
//! In: events of the consumers, what is due, answers of the overflow's rooms, time. Out: batches for the next stage,
//! records for the overflow. Always: it waits for everything at once and for nothing alone; a batch begins only
//! when there is room on the way.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use carillon_bus::{Event, TopicPartition};
use carillon_chassis::{clock::Clock, readiness::Condition};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    RouterError,
    config::Batching,
    intake::Intake,
    metrics::{Meters, Queues},
    overflow::{Found, Placed, TakeOver},
    schedule::ScheduleHandle,
    sources::{Inlets, Sources},
    work::{Item, Work},
};

/// Events of one source that are heard before the others are looked at.
const EVENTS_AT_ONCE: usize = 8;

/// How often the queues are shown in the metrics.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// The room.
pub(crate) struct Listen {
    pub(crate) batching: Batching,
    pub(crate) clock: Clock,
    pub(crate) consuming: Condition,
    pub(crate) notifications: Arc<str>,
    pub(crate) meters: Meters,
    pub(crate) queues: Queues,
    pub(crate) sources: Arc<Sources>,
    pub(crate) schedule: ScheduleHandle,
}

/// To the rooms behind and beside, and back.
pub(crate) struct Ways {
    pub(crate) begun: mpsc::Sender<Work>,
    /// Records that do not fit their lane. When it is full, they wait in the intake, and in the end the consumer.
    pub(crate) spilled: mpsc::Sender<Item>,
    pub(crate) placed: mpsc::Receiver<Vec<Placed>>,
    pub(crate) asked: mpsc::Sender<TakeOver>,
    pub(crate) found: mpsc::Receiver<Found>,
}

/// What this room fills and empties.
pub(crate) type Rim = Intake<Arc<Sources>>;

/// Which consumer an event is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Main,
    Redrive,
    Ladder,
    Overflow,
}

impl Listen {
    /// Until the shutdown.
    pub(crate) async fn run(
        &self,
        mut intake: Rim,
        mut inlets: Inlets,
        mut ways: Ways,
        shutdown: &CancellationToken,
    ) -> Result<(), RouterError> {
        let way = Arc::new(Semaphore::new(self.batching.on_the_way));
        // What is begun and has no place in the next stage yet: of one batch.
        let mut ready = VecDeque::new();
        let mut reports = interval(REPORT_EVERY);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let idle = ready.is_empty() && !intake.is_empty();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                event = inlets.main.recv() => self.hear(Of::Main, some(event)?, &mut intake),
                event = inlets.redrive.recv() => self.hear(Of::Redrive, some(event)?, &mut intake),
                event = inlets.ladder.recv() => self.hear(Of::Ladder, some(event)?, &mut intake),
                event = inlets.overflow.recv() => self.hear(Of::Overflow, some(event)?, &mut intake),
                Some(placed) = ways.placed.recv() => placed.iter().for_each(|placed| intake.overflow().placed(placed)),
                Some(found) = ways.found.recv() => intake.hear_found(found),
                Ok(place) = ways.spilled.reserve(), if intake.overflow().is_spilling() => {
                    put(place, intake.overflow().next_spilled());
                }
                Ok(place) = ways.asked.reserve(), if intake.overflow().is_asking() => {
                    put(place, intake.overflow().next_asked());
                }
                () = self.sources.drained.notified(), if intake.overflow().keeps_back() => intake.hear_drained(),
                Some(due) = inlets.due.recv() => intake.hear_schedule(due, self.clock.unix_ms()),
                () = self.due(intake.next_due_ms()) => {}
                Ok(place) = ways.begun.reserve(), if !ready.is_empty() => put(place, ready.pop_front()),
                _ = reports.tick() => intake.report(&self.queues),
                Some(room) = self.room(&way), if idle => self.begin(room, &mut intake, &mut ready),
            }
            self.hear_waiting(&mut intake, &mut inlets, &ways);
            if ready.is_empty()
                && !intake.is_empty()
                && let Some(room) = self.room_now(&way)
            {
                self.begin(room, &mut intake, &mut ready);
            }
            while !ready.is_empty()
                && let Ok(place) = ways.begun.try_reserve()
            {
                put(place, ready.pop_front());
            }
        }
    }

    fn begin(&self, mut room: OwnedSemaphorePermit, intake: &mut Rim, ready: &mut VecDeque<Work>) {
        for mut work in intake.take(room.num_permits(), self.batching.bytes) {
            self.meters.taken(&work, self.clock.unix_ms());
            work.room = room.split(work.len().min(room.num_permits()));
            ready.push_back(work);
        }
    }

    /// Hears what waits already, so that batches grow under load.
    fn hear_waiting(&self, intake: &mut Rim, inlets: &mut Inlets, ways: &Ways) {
        for _ in 0..EVENTS_AT_ONCE {
            let heard = [
                (Of::Main, inlets.main.try_recv()),
                (Of::Redrive, inlets.redrive.try_recv()),
                (Of::Ladder, inlets.ladder.try_recv()),
                (Of::Overflow, inlets.overflow.try_recv()),
            ];
            if heard.iter().all(|(_, event)| event.is_err()) {
                break;
            }
            for (of, event) in heard {
                event.into_iter().for_each(|event| self.hear(of, event, intake));
            }
        }
        intake.hear_time(self.clock.unix_ms());
        while intake.overflow().is_spilling()
            && let Ok(place) = ways.spilled.try_reserve()
        {
            put(place, intake.overflow().next_spilled());
        }
    }

    fn hear(&self, of: Of, event: Event, intake: &mut Rim) {
        let now_ms = self.clock.unix_ms();
        match (event, of) {
            (Event::Records(batch), Of::Main) => intake.hear_main(batch, now_ms),
            (Event::Records(batch), Of::Redrive) => intake.hear_redrive(batch.records, now_ms),
            (Event::Records(batch), Of::Ladder) => intake.hear_ladder(batch.records, now_ms),
            (Event::Records(batch), Of::Overflow) => intake.hear_overflow(batch.records, now_ms),
            (Event::Assigned(partitions), Of::Overflow) => intake.overflow().begun(&partitions),
            (Event::Assigned(partitions), _) => self.assigned(of, &partitions, intake),
            // They went with their notifications partitions.
            (Event::Revoked(_), Of::Overflow) => {}
            (Event::Revoked(partitions), _) => self.revoked(&partitions, intake),
        }
    }

    fn assigned(&self, of: Of, partitions: &[TopicPartition], intake: &mut Rim) {
        info!(partitions = partitions.len(), "partitions assigned");
        if of == Of::Main {
            self.consuming.met();
            let ours = self.of_notifications(partitions);
            intake.overflow().own(&ours);
            self.schedule.own(ours);
        }
    }

    /// What is begun goes on: the consumer waits for it, so that the next router does not repeat it.
    fn revoked(&self, partitions: &[TopicPartition], intake: &mut Rim) {
        info!(partitions = partitions.len(), "partitions revoked");
        let ours = self.of_notifications(partitions);
        for item in intake.revoke(partitions, &ours) {
            self.sources.let_go(&item.record, &item.source);
        }
        self.schedule.disown(ours);
    }

    fn of_notifications(&self, partitions: &[TopicPartition]) -> Vec<i32> {
        let of = partitions.iter().filter(|p| p.topic == self.notifications);
        of.map(|p| p.partition).collect()
    }

    /// Until something of the ladder is due; for ever when nothing waits.
    async fn due(&self, next_ms: Option<u64>) {
        match next_ms {
            Some(at) => {
                let wait = at.saturating_sub(self.clock.unix_ms());
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Room for a batch; a part of one is not worth a round trip while others are on their way.
    async fn room(&self, way: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let least = Arc::clone(way).acquire_many_owned(self.least()).await.ok()?;
        Some(self.grown(least, way))
    }

    fn room_now(&self, way: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let least = Arc::clone(way).try_acquire_many_owned(self.least()).ok()?;
        Some(self.grown(least, way))
    }

    fn least(&self) -> u32 {
        let batching = &self.batching;
        let least = batching.records.min(batching.on_the_way) / 4;
        u32::try_from(least.max(1)).unwrap_or(u32::MAX)
    }

    fn grown(&self, mut room: OwnedSemaphorePermit, way: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        let more = self.batching.records.saturating_sub(room.num_permits());
        let more = u32::try_from(more.min(way.available_permits())).unwrap_or(u32::MAX);
        if let Ok(more) = Arc::clone(way).try_acquire_many_owned(more) {
            room.merge(more);
        }
        room
    }
}

fn some(event: Option<Event>) -> Result<Event, RouterError> {
    event.ok_or(RouterError::ConsumerEnded)
}

/// Into the place that was reserved for it.
fn put<T>(place: mpsc::Permit<'_, T>, what: Option<T>) {
    if let Some(what) = what {
        place.send(what);
    }
}
