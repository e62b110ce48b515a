//! The schedule: notifications that wait for their `deliver_at`.
//!
//! In: the rows of the partitions that this router has, and time. Out: what is due, into a bounded queue of the
//! pipeline; rows that need no dispatch any more are taken out. Always: nothing before it is due; what is due is
//! looked at afresh, so that what was cancelled meanwhile is not sent; one is on its way once at a time.

mod decide;
mod handle;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use carillon_chassis::{
    clock::Clock,
    metrics::{CounterVec, Histogram, LATENCY_BUCKETS, Metrics},
};
use carillon_store::{Due, NotificationStore, Scheduled, StoreError};
use tokio::sync::mpsc;
use tracing::error;

use crate::{
    beside::{BesideConfig, keep::keep},
    hold::{Dependency, Holds, Site},
};
use decide::{Decision, decide};
pub(crate) use handle::ScheduleHandle;

/// A notification whose time has come. The pipeline takes its row out and then says
/// [`ScheduleHandle::settled`].
#[derive(Debug)]
pub(crate) struct DueNow {
    /// Its row.
    pub(crate) place: Scheduled,
    /// The envelope's bytes as sealed.
    pub(crate) bytes: Bytes,
}

/// The room.
pub(crate) struct Schedule {
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) handle: ScheduleHandle,
    /// To the pipeline; when it is full, the schedule waits.
    pub(crate) due: mpsc::Sender<DueNow>,
    pub(crate) clock: Clock,
    pub(crate) config: BesideConfig,
    pub(crate) meters: Meters,
}

/// What is counted here.
pub(crate) struct Meters {
    rows: CounterVec,
    lateness: Histogram,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            rows: metrics.counter_vec(
                "carillon_router_scheduled_total",
                "Scheduled notifications that were due, or were taken out for another reason",
                &["end"],
            ),
            lateness: metrics.histogram(
                "carillon_router_schedule_lateness_seconds",
                "Time from when a scheduled notification was due to when it was taken up",
                &LATENCY_BUCKETS,
            ),
        }
    }
}

impl Schedule {
    /// Looks for ever; ends when the pipeline has. May be dropped at any time.
    pub(crate) async fn run(&self) {
        loop {
            let changed = self.handle.changed();
            let mut next_ms = self
                .clock
                .unix_ms()
                .saturating_add(millis(self.config.look_every));
            for partition in self.handle.owned() {
                match self.look(partition).await {
                    Some(wanted) => next_ms = next_ms.min(wanted),
                    None => return,
                }
            }
            self.handle.looks_next(next_ms);
            let wait = next_ms.saturating_sub(self.clock.unix_ms());
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            }
        }
    }

    /// Looks at a partition. Gives when to look next at the latest; none when nobody takes what is due.
    async fn look(&self, partition: i32) -> Option<u64> {
        let room = self
            .config
            .due_in_flight
            .saturating_sub(self.handle.on_their_way(partition));
        if room == 0 {
            return Some(u64::MAX);
        }
        let now_ms = self.clock.unix_ms();
        let ahead_ms = now_ms.saturating_add(millis(self.config.look_every));
        // Those on their way still stand in the schedule.
        let limit = self.handle.on_their_way(partition) + room.min(self.config.due_batch);
        let rows = self.due(partition, ahead_ms, limit).await;
        let more = rows.len() >= limit;
        let (mut next_ms, mut gone) = (u64::MAX, Vec::new());
        for row in rows {
            if self.handle.is_on_its_way(&row.place) {
                continue;
            }
            match decide(row.bytes, row.head.as_ref(), row.place.due_at_ms, now_ms) {
                Decision::Wait => {
                    next_ms = next_ms.min(row.place.due_at_ms);
                    break;
                }
                Decision::TakeOut(why) => {
                    self.meters.rows.with_label_values(&[why]).inc();
                    gone.push(row.place);
                }
                Decision::Hand(bytes) => {
                    if !self.hand(row.place, bytes, now_ms).await? {
                        break;
                    }
                }
            }
        }
        let progress = self.take_out(&gone).await;
        Some(if more && progress && next_ms == u64::MAX {
            now_ms
        } else {
            next_ms
        })
    }

    /// Into the pipeline. `false` when the partition went meanwhile.
    async fn hand(&self, place: Scheduled, bytes: Bytes, now_ms: u64) -> Option<bool> {
        if !self.handle.enter(&place) {
            return Some(false);
        }
        let late = Duration::from_millis(now_ms.saturating_sub(place.due_at_ms));
        self.meters.lateness.observe(late.as_secs_f64());
        self.meters.rows.with_label_values(&["due"]).inc();
        self.due.send(DueNow { place, bytes }).await.ok()?;
        Some(true)
    }

    async fn due(&self, partition: i32, until_ms: u64, limit: usize) -> Vec<Due> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let mut attempts = self.holds.attempts(Site::Schedule);
        loop {
            match self.store.due(partition, until_ms, limit).await {
                Ok(rows) => return rows,
                Err(StoreError::Refused(reason)) => {
                    error!(partition, error = reason, "the store refuses to tell what is due");
                    attempts.wait(Dependency::Store, &reason).await;
                }
                Err(error) => attempts.wait(Dependency::Store, &error.to_string()).await,
            }
        }
    }

    /// Whether they are out.
    async fn take_out(&self, gone: &[Scheduled]) -> bool {
        let write = |rows| self.store.unschedule(rows);
        let refused = keep(&self.holds, Site::Schedule, gone, self.config.due_batch, write).await;
        if let Some((place, reason)) = refused.first() {
            error!(tenant = %place.tenant, id = %place.id, error = reason, "the store refuses to take a row out of the schedule");
        }
        refused.is_empty()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
