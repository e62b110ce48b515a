//! The pipeline: the way of a record through the rooms, on one screen.
//!
//! In: what the sources hand over. Out: finished offsets.
//! Always: the stages overlap through bounded queues, each keeps the order: while one batch waits for Kafka, the
//! next is persisted, and what is acknowledged is settled beside them. A full queue stops the stage before it; the
//! first stage never stops listening, so that nobody's records stand before another's.

use carillon_chassis::clock::Clock;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    RouterError,
    config::Batching,
    dispatch::Dispatch,
    gate::Gate,
    listen::{Listen, Rim, Ways},
    overflow::{Taker, Writer},
    persist::Persist,
    questions::Questions,
    settle::Settle,
    sources::Inlets,
    work::Work,
};

/// The rooms.
pub(crate) struct Pipeline {
    pub(crate) batching: Batching,
    pub(crate) clock: Clock,
    pub(crate) listen: Listen,
    pub(crate) overflow: Writer,
    pub(crate) taker: Taker,
    pub(crate) questions: Questions,
    pub(crate) persist: Persist,
    pub(crate) gate: Gate,
    pub(crate) dispatch: Dispatch,
    pub(crate) settle: Settle,
    #[cfg(feature = "seeded-bugs")]
    pub(crate) bug: Option<crate::seeded::SeededBug>,
}

impl Pipeline {
    /// Until the shutdown, and then until what was begun is finished.
    pub(crate) async fn run(
        &self,
        intake: Rim,
        inlets: Inlets,
        shutdown: &CancellationToken,
    ) -> Result<(), RouterError> {
        let (spilled, to_overflow) = mpsc::channel(self.batching.spilled);
        let (placed, were_placed) = mpsc::channel(1);
        let (asked, to_take_over) = mpsc::channel(1);
        let (found, were_found) = mpsc::channel(1);
        let (begun, to_store) = mpsc::channel(1);
        let (persisted, to_dispatch) = mpsc::channel(self.batching.persisted);
        let (acknowledged, to_settle) = mpsc::channel(self.batching.acknowledged);
        let ways = Ways {
            begun,
            spilled,
            placed: were_placed,
            asked,
            found: were_found,
        };
        let (listened, (), (), (), (), ()) = tokio::join!(
            self.listen.run(intake, inlets, ways, shutdown),
            self.overflow.run(to_overflow, placed),
            self.taker.run(to_take_over, found),
            self.store(to_store, persisted),
            self.dispatch.run(to_dispatch, acknowledged),
            self.settle.run(to_settle),
        );
        listened
    }

    async fn store(&self, mut begun: mpsc::Receiver<Work>, persisted: mpsc::Sender<Work>) {
        while let Some(mut work) = begun.recv().await {
            #[cfg(feature = "seeded-bugs")]
            if self.bug == Some(crate::seeded::SeededBug::AckBeforeStore) {
                self.settle.let_go_early(&work);
            }
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
