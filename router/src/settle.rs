//! Settling: the only place that acts on a verdict and lets an offset go.
//!
//! In: batches whose every record is acknowledged or ended. Out: state and place in the store, records on the
//! ladder, dead letters, schedule rows, finished offsets. Always: a record is finished after everything that its
//! verdict asks for is durable. A crash before that repeats it; what it does again has the same names.

mod rows;

use std::sync::Arc;

use carillon_chassis::clock::Clock;
use carillon_store::{Dispatched, Fact, NotificationStore};
use tokio::{sync::mpsc, time::Instant};
use tracing::{debug, error};

use crate::{
    dead_letters::DeadLetters,
    dispatch::{Acknowledged, moved},
    hold::{Holds, Site},
    ladder::Ladder,
    metrics::{Meters, Write},
    moves::Moves,
    persist::{Unwritten, write_all},
    questions::OnTheWay,
    schedule::ScheduleHandle,
    sources::{Source, Sources},
    work::{End, Ended, Work},
};
pub(crate) use rows::Rows;

/// Most batches that are settled together. What is on the way is bounded in records.
const BATCHES_AT_ONCE: usize = 32;

/// The room.
pub(crate) struct Settle {
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) moves: Arc<Moves>,
    pub(crate) ladder: Arc<Ladder>,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) schedule: ScheduleHandle,
    pub(crate) rows: Rows,
    pub(crate) on_the_way: Arc<OnTheWay>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) meters: Meters,
    pub(crate) clock: Clock,
}

impl Settle {
    /// Settles batch after batch until there are no more; what waits meanwhile is settled together.
    pub(crate) async fn run(&self, mut acknowledged: mpsc::Receiver<Acknowledged>) {
        while let Some(first) = acknowledged.recv().await {
            let mut batches = vec![first];
            while batches.len() < BATCHES_AT_ONCE
                && let Ok(next) = acknowledged.try_recv()
            {
                batches.push(next);
            }
            self.settle(batches).await;
        }
    }

    async fn settle(&self, batches: Vec<Acknowledged>) {
        let at_ms = self.clock.unix_ms();
        let mut works = Vec::with_capacity(batches.len());
        let mut rows = Vec::new();
        for Acknowledged { work, acks, .. } in batches {
            let placed = work.iter().zip(acks);
            rows.extend(placed.map(|((way, new), ack)| self.rows.dispatched(way, new, ack, at_ms)));
            works.push(work);
        }
        self.record(&rows).await;
        let ended: Vec<_> = works.iter().flat_map(|work| &work.ended).collect();
        self.end(&ended, at_ms).await;
        self.unschedule(&works).await;
        for work in works {
            self.finish(work);
        }
    }

    /// What is on the deliveries topic becomes state. A row that the store refuses is told and let go: its
    /// delivery is made, and a dead letter beside it would be a second fate.
    async fn record(&self, rows: &[Dispatched]) {
        if rows.is_empty() {
            return;
        }
        let began = Instant::now();
        let write = |rows| self.store.dispatched(rows);
        let refused = write_all(&self.holds, Site::Settle, rows, write).await;
        self.meters.wrote(Write::Dispatched, began);
        self.meters.unrecorded.inc_by(refused.len() as u64);
        told("dispatched", &refused);
    }

    /// What the verdicts of all batches at hand ask for, each durable before the next: first where a record is from
    /// now on, then what is said about it. Together, because a tenant of which everything fails comes in small
    /// batches, and everybody's deliveries would wait for three round trips of each.
    async fn end(&self, ended: &[&Ended], at_ms: u64) {
        if ended.iter().all(|ended| ended.end == End::Done) {
            return;
        }
        let scheduled = self.rows.scheduled(ended);
        told(
            "scheduled",
            &self.write(&scheduled, |rows| self.store.schedule(rows)).await,
        );
        self.schedule.scheduled(&scheduled);
        self.retry(ended).await;
        let dead = self.dead_letters.write(ended, at_ms).await;
        told("dead", &self.write(&dead, |rows| self.store.dead(rows)).await);
        let (retrying, facts) = self.rows.facts(ended, at_ms);
        told("told", &self.write(&facts, |rows| self.store.note(rows)).await);
        self.mention(&retrying).await;
        for ended in ended {
            self.meters.ended(&ended.end);
        }
    }

    /// What the store did not take is on the ladder, and the store hears of it if it can: asking until it does
    /// would hold everybody for the one.
    async fn mention(&self, facts: &[Fact]) {
        if !facts.is_empty()
            && let Err(error) = self.store.note(facts).await
        {
            debug!(count = facts.len(), error = %error, "retrying, and the store does not know");
        }
    }

    async fn write<'a, T>(
        &self,
        rows: &'a [T],
        write: impl Fn(&'a [T]) -> crate::persist::Written<'a>,
    ) -> Vec<(usize, Unwritten)> {
        if rows.is_empty() {
            return Vec::new();
        }
        write_all(&self.holds, Site::Settle, rows, write).await
    }

    /// Those that wait for their next attempt, onto their tiers.
    async fn retry(&self, ended: &[&Ended]) {
        let now_ms = self.clock.unix_ms();
        let mut records = Vec::new();
        for Ended { way, end, .. } in ended {
            let End::Retry(reason) = end else { continue };
            let rung = self.ladder.after(way.travel.attempt);
            let due_ms = now_ms + rung.delay_ms;
            let headers = way.travel.to_retry(&way.record, due_ms, reason);
            records.push(moved(way, &rung.topic, headers));
            self.meters.retry(&rung.name);
        }
        self.moves.write(Site::Retries, &records).await;
    }

    /// What came from the schedule is taken out of it, unless it waits there again.
    async fn unschedule(&self, works: &[Work]) {
        let rows: Vec<_> = works.iter().flat_map(|work| self.rows.done(work)).collect();
        told(
            "unscheduled",
            &self.write(&rows, |rows| self.store.unschedule(rows)).await,
        );
        for way in works.iter().flat_map(Work::all_ways) {
            if let Source::Schedule(place) = &way.source {
                self.schedule.settled(place);
            }
        }
    }

    /// A seeded bug.
    #[cfg(feature = "seeded-bugs")]
    pub(crate) fn let_go_early(&self, work: &Work) {
        for way in work.all_ways() {
            self.sources.finish(&way.record, &way.source);
        }
    }

    fn finish(&self, work: Work) {
        for way in work.all_ways() {
            self.sources.finish(&way.record, &way.source);
        }
        self.on_the_way.leave(&work);
        self.meters
            .finished_batch(work.len(), work.ways.len(), work.taken);
    }
}

/// Rows that the store refuses say what already is: nothing else can be done with them.
fn told(what: &str, refused: &[(usize, Unwritten)]) {
    for (_, why) in refused {
        error!(what, why = ?why, "this is so, but its state was refused");
    }
}
