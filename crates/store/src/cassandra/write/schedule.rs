//! The schedule's rows.
//!
//! In: places of notifications that wait. Out: rows, or fewer of them. Always: a minute is noted before anything
//! stands in it, so that nothing is overlooked.

use std::{collections::BTreeSet, time::Duration};

use super::Writer;
use crate::{
    Scheduled, StoreError,
    cassandra::times::{latest_wins, life, minute, time},
};

impl Writer<'_> {
    /// Puts notifications into the schedule.
    pub(in crate::cassandra) async fn schedule(&self, batch: &[Scheduled]) -> Result<(), StoreError> {
        let statements = &self.cluster.statements;
        let written = latest_wins(self.now_ms);
        // The longest of each minute: what waits longest decides.
        let life_of = |due_at_ms: u64| {
            let ahead = Duration::from_millis(due_at_ms.saturating_sub(self.now_ms));
            life(self.retention.saturating_add(ahead))
        };
        let minutes: BTreeSet<_> = batch
            .iter()
            .map(|place| (place.partition, minute(place.due_at_ms)))
            .collect();
        let noting = minutes.into_iter().map(|(partition, at)| async move {
            // A minute's last moment, so that no row outlives its note.
            let life = life_of((i64::from(at) + 1).unsigned_abs() * 60_000);
            let values = (partition, at, written, life);
            self.cluster.execute(&statements.minute, values).await.map(|_| ())
        });
        self.cluster.all(noting).await?;
        let putting = batch.iter().map(|place| async move {
            let values = (
                place.partition,
                minute(place.due_at_ms),
                time(place.due_at_ms),
                place.tenant.as_str(),
                &place.id.as_bytes()[..],
                written,
                life_of(place.due_at_ms),
            );
            self.cluster
                .execute(&statements.schedule, values)
                .await
                .map(|_| ())
        });
        self.cluster.all(putting).await
    }

    /// Takes notifications out of the schedule.
    pub(in crate::cassandra) async fn unschedule(&self, batch: &[Scheduled]) -> Result<(), StoreError> {
        let statement = &self.cluster.statements.unschedule;
        let each = batch.iter().map(|place| async move {
            let values = (
                latest_wins(self.now_ms),
                place.partition,
                minute(place.due_at_ms),
                time(place.due_at_ms),
                place.tenant.as_str(),
                &place.id.as_bytes()[..],
            );
            self.cluster.execute(statement, values).await.map(|_| ())
        });
        self.cluster.all(each).await
    }
}
