//! The pipeline: the way of a record through the rooms, on one screen.
//!
//! In: what the consumer hands over. Out: finished offsets.
//! Always: three stages overlap through bounded queues, each keeps the order: while one batch waits for
//! Kafka, the next is persisted, and what is acknowledged is settled beside them. A full queue stops the
//! stage before it, and in the end the consumer.

use std::sync::Arc;

use carillon_bus::{Event, Record};
use carillon_chassis::{clock::Clock, readiness::Condition};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    RouterError,
    config::Batching,
    dispatch::Dispatch,
    intake::Intake,
    metrics::Meters,
    open::open,
    persist::Persist,
    poison::Poison,
    republished::Republished,
    settle::Settle,
    verdict::{Outcome, Verdict, verdict},
    work::{End, Work},
};

/// The rooms.
pub(crate) struct Pipeline {
    pub(crate) batching: Batching,
    pub(crate) node: Arc<str>,
    pub(crate) clock: Clock,
    pub(crate) consuming: Condition,
    pub(crate) meters: Meters,
    pub(crate) republished: Republished,
    pub(crate) persist: Persist,
    pub(crate) dispatch: Dispatch,
    pub(crate) settle: Settle,
}

impl Pipeline {
    /// Until the shutdown, and then until what was begun is finished.
    pub(crate) async fn run(
        &self,
        events: mpsc::Receiver<Event>,
        shutdown: &CancellationToken,
    ) -> Result<(), RouterError> {
        let (persisted, to_dispatch) = mpsc::channel(self.batching.persisted);
        let (acknowledged, to_settle) = mpsc::channel(self.batching.acknowledged);
        let (taken, (), ()) = tokio::join!(
            self.take(events, shutdown, persisted),
            self.dispatch.run(to_dispatch, acknowledged),
            self.settle.run(to_settle),
        );
        taken
    }

    async fn take(
        &self,
        mut events: mpsc::Receiver<Event>,
        shutdown: &CancellationToken,
        persisted: mpsc::Sender<Work>,
    ) -> Result<(), RouterError> {
        let mut intake = Intake::new(&self.batching);
        while self.fill(&mut intake, &mut events, shutdown).await? {
            let mut work = self.open(intake.take());
            self.republished.drop_done(&mut work).await;
            self.persist.persist(&mut work).await;
            if persisted.send(work).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Waits for the first record, takes what else is there, up to a batch. `false` at the shutdown.
    async fn fill(
        &self,
        intake: &mut Intake,
        events: &mut mpsc::Receiver<Event>,
        shutdown: &CancellationToken,
    ) -> Result<bool, RouterError> {
        while intake.is_empty() {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(false),
                event = events.recv() => self.hear(event.ok_or(RouterError::ConsumerEnded)?, intake),
            }
        }
        while intake.wants_more()
            && let Ok(event) = events.try_recv()
        {
            self.hear(event, intake);
        }
        Ok(!shutdown.is_cancelled())
    }

    fn hear(&self, event: Event, intake: &mut Intake) {
        match event {
            Event::Records(batch) => intake.push(batch.records),
            Event::Assigned(partitions) => {
                info!(partitions = partitions.len(), "partitions assigned");
                self.consuming.met();
            }
            Event::Revoked(partitions) => {
                info!(partitions = partitions.len(), "partitions revoked");
                // What is begun goes on: the consumer waits for it, so that the next router does not repeat it.
                let gone = intake.take_revoked(&partitions);
                self.settle.let_go(&gone);
            }
        }
    }

    fn open(&self, records: Vec<Record>) -> Work {
        self.meters.taken(records.len());
        let at_ms = self.clock.unix_ms();
        Work::open(records, |record| open(record, &self.node, at_ms), end_of)
    }
}

fn end_of(poison: Poison) -> End {
    match verdict(Outcome::Poison(poison)) {
        Verdict::DeadLetter(reason) => End::Dead(reason),
        Verdict::Done | Verdict::Proceed | Verdict::Hold(..) => End::Done,
    }
}
