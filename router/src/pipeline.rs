//! The pipeline: the way of a record through the rooms, on one screen.
//!
//! In: what the sources hand over. Out: finished offsets.
//! Always: four stages overlap through bounded queues, each keeps the order: while one batch waits for Kafka, the
//! next is persisted, and what is acknowledged is settled beside them. A full queue stops the stage before it; the
//! first stage never stops listening, so that nobody's records stand before another's.

use std::sync::Arc;

use carillon_bus::{Event, TopicPartition};
use carillon_chassis::{clock::Clock, readiness::Condition};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    RouterError,
    config::Batching,
    dispatch::Dispatch,
    gate::Gate,
    intake::Intake,
    metrics::Meters,
    persist::Persist,
    questions::Questions,
    schedule::ScheduleHandle,
    settle::Settle,
    sources::{Inlets, Sources},
    work::Work,
};

/// Events of one source that are heard before the others are looked at.
const EVENTS_AT_ONCE: usize = 8;

/// The rooms.
pub(crate) struct Pipeline {
    pub(crate) batching: Batching,
    pub(crate) clock: Clock,
    pub(crate) consuming: Condition,
    pub(crate) notifications: Arc<str>,
    pub(crate) meters: Meters,
    pub(crate) sources: Arc<Sources>,
    pub(crate) schedule: ScheduleHandle,
    pub(crate) questions: Questions,
    pub(crate) persist: Persist,
    pub(crate) gate: Gate,
    pub(crate) dispatch: Dispatch,
    pub(crate) settle: Settle,
}

/// Which group an event is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Main,
    Ladder,
}

impl Pipeline {
    /// Until the shutdown, and then until what was begun is finished.
    pub(crate) async fn run(
        &self,
        intake: Intake,
        inlets: Inlets,
        shutdown: &CancellationToken,
    ) -> Result<(), RouterError> {
        let (begun, to_store) = mpsc::channel(1);
        let (persisted, to_dispatch) = mpsc::channel(self.batching.persisted);
        let (acknowledged, to_settle) = mpsc::channel(self.batching.acknowledged);
        let (taken, (), (), ()) = tokio::join!(
            self.take(intake, inlets, shutdown, begun),
            self.store(to_store, persisted),
            self.dispatch.run(to_dispatch, acknowledged),
            self.settle.run(to_settle),
        );
        taken
    }

    /// Begins batch after batch, while there is room on the way.
    async fn take(
        &self,
        mut intake: Intake,
        mut inlets: Inlets,
        shutdown: &CancellationToken,
        begun: mpsc::Sender<Work>,
    ) -> Result<(), RouterError> {
        let way = Arc::new(Semaphore::new(self.batching.on_the_way));
        while let Some(mut room) = self.listen(&mut intake, &mut inlets, &way, shutdown).await? {
            for mut work in intake.take(room.num_permits(), self.batching.bytes) {
                self.meters.taken(&work, self.clock.unix_ms());
                work.room = room.split(work.len().min(room.num_permits()));
                if begun.send(work).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Listens to every source until there is something to begin and room for it. `None` at the shutdown.
    async fn listen(
        &self,
        intake: &mut Intake,
        inlets: &mut Inlets,
        way: &Arc<Semaphore>,
        shutdown: &CancellationToken,
    ) -> Result<Option<OwnedSemaphorePermit>, RouterError> {
        self.hear_waiting(intake, inlets);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(None),
                event = inlets.main.recv() => {
                    self.hear(Group::Main, event.ok_or(RouterError::ConsumerEnded)?, intake);
                    self.hear_waiting(intake, inlets);
                }
                event = inlets.ladder.recv() => {
                    self.hear(Group::Ladder, event.ok_or(RouterError::ConsumerEnded)?, intake);
                }
                Some(due) = inlets.due.recv() => intake.hear_schedule(due, self.clock.unix_ms()),
                () = self.due(intake.next_due_ms()) => intake.hear_time(self.clock.unix_ms()),
                room = self.room(way), if !intake.is_empty() => return Ok(room),
            }
            if !intake.is_empty()
                && let Some(room) = self.room_now(way)
            {
                return Ok(Some(room));
            }
        }
    }

    /// Hears what waits already, so that batches grow under load.
    fn hear_waiting(&self, intake: &mut Intake, inlets: &mut Inlets) {
        for _ in 0..EVENTS_AT_ONCE {
            let (main, ladder) = (inlets.main.try_recv(), inlets.ladder.try_recv());
            if main.is_err() && ladder.is_err() {
                break;
            }
            for (group, event) in [(Group::Main, main.ok()), (Group::Ladder, ladder.ok())] {
                event
                    .into_iter()
                    .for_each(|event| self.hear(group, event, intake));
            }
        }
        intake.hear_time(self.clock.unix_ms());
    }

    fn hear(&self, group: Group, event: Event, intake: &mut Intake) {
        let now_ms = self.clock.unix_ms();
        match event {
            Event::Records(batch) if group == Group::Main => intake.hear_main(batch.records, now_ms),
            Event::Records(batch) => intake.hear_ladder(batch.records, now_ms),
            Event::Assigned(partitions) => {
                info!(partitions = partitions.len(), "partitions assigned");
                if group == Group::Main {
                    self.consuming.met();
                    self.schedule.own(self.of_notifications(&partitions));
                }
            }
            Event::Revoked(partitions) => {
                info!(partitions = partitions.len(), "partitions revoked");
                self.schedule.disown(self.of_notifications(&partitions));
                // What is begun goes on: the consumer waits for it, so that the next router does not repeat it.
                for item in intake.revoke(&partitions) {
                    self.sources.let_go(&item.record, &item.source);
                }
            }
        }
    }

    fn of_notifications(&self, partitions: &[TopicPartition]) -> Vec<i32> {
        let of = partitions.iter().filter(|p| p.topic == self.notifications);
        of.map(|p| p.partition).collect()
    }

    async fn store(&self, mut begun: mpsc::Receiver<Work>, persisted: mpsc::Sender<Work>) {
        while let Some(mut work) = begun.recv().await {
            self.questions.drop_handled(&mut work).await;
            self.persist.persist(&mut work).await;
            let latest = self.questions.latest(&work).await;
            self.gate.pass(&mut work, &latest, self.clock.unix_ms());
            if persisted.send(work).await.is_err() {
                return;
            }
        }
    }
}

/// Waiting.
impl Pipeline {
    /// Until something of the ladder is due; for ever when nothing waits.
    async fn due(&self, next_ms: Option<u64>) {
        match next_ms {
            Some(at) => {
                let wait = at.saturating_sub(self.clock.unix_ms());
                tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
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
