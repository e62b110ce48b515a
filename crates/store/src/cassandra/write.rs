//! Writes: facts into rows.
//!
//! In: a batch. Out: the same in the tables, or an error after which it may be repeated whole.
//! Always: nothing is read before it is written; rows of one partition go together, and all the rest at once.

use std::{cmp::Ordering, time::Duration};

use carillon_schemas::status::Status;
use scylla::{serialize::row::SerializeRow, statement::prepared::PreparedStatement};

use self::rows::{
    FactRow, PlaceRow, RecentRow, SessionsRow, ahead, fact_row, life_of, payload, place, recent, stamp,
    stamp_of,
};
use super::{
    cluster::Cluster,
    latest::Latest,
    logs::Log,
    marks::Marks,
    times::{life, most_wins, shorter_life},
};
use crate::{Dispatched, Fact, NewNotification, StoreError};

mod letters;
mod rows;
mod schedule;

/// Most rows that go to a partition together: some 4 KB, below the size that Cassandra warns of (5 KiB).
const TOGETHER: usize = 32;

/// Partitions of an hour of a tenant's deliveries.
pub(super) const SUBS: u8 = 8;

/// Writes, with what they need.
pub(super) struct Writer<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) marks: &'a Marks,
    pub(super) retention: Duration,
    pub(super) now_ms: u64,
}

impl Writer<'_> {
    /// Payloads, with their places in their tenants' deliveries, and the latest of collapse keys.
    pub(super) async fn persist(&self, batch: &[NewNotification]) -> Result<(), StoreError> {
        let statements = &self.cluster.statements;
        let payloads = batch.iter().map(|new| async move {
            let row = payload(new, self.retention);
            self.cluster.execute(&statements.payload, &row).await.map(|_| ())
        });
        let places: Vec<_> = batch.iter().map(|new| place(new, self.retention)).collect();
        let by_partition = |a: &PlaceRow<'_>, b: &PlaceRow<'_>| a.partition().cmp(&b.partition());
        let hours: Vec<_> = places.iter().map(|p| (p.tenant, p.hour)).collect();
        let far: Vec<_> = batch
            .iter()
            .zip(&hours)
            .filter(|(new, _)| ahead(new).is_some())
            .collect();
        let far = far.into_iter().map(|(_, hour)| *hour);
        futures_util::future::try_join5(
            self.cluster.all(payloads),
            self.together(&statements.place, places, by_partition),
            self.mark_hours(hours.iter().copied()),
            self.mark_log(Log::Ahead, far),
            self.collapse(batch),
        )
        .await?;
        Ok(())
    }

    /// Notes the hours of a tenant's deliveries that have anything.
    async fn mark_hours<'m>(&self, hours: impl Iterator<Item = (&'m str, i32)>) -> Result<(), StoreError> {
        let life = life(self.retention);
        let marks = self.marks.missing(hours, self.now_ms);
        let marking = marks.iter().map(|(tenant, hour)| async move {
            let (row, statement) = ((tenant.as_str(), hour, life), &self.cluster.statements.mark);
            self.cluster.execute(statement, row).await.map(|_| ())
        });
        self.cluster.all(marking).await?;
        self.marks.set(marks, self.now_ms);
        Ok(())
    }

    /// Notes the hours of a log that have anything: these are rare, and written each time.
    async fn mark_log<'m>(
        &self,
        log: Log,
        hours: impl Iterator<Item = (&'m str, i32)>,
    ) -> Result<(), StoreError> {
        let life = life(log.kept(self.retention));
        let hours: std::collections::BTreeSet<_> = hours.collect();
        let marking = hours.into_iter().map(|(tenant, hour)| async move {
            let (row, statement) = ((tenant, log as i8, hour, life), &self.cluster.statements.mark_log);
            self.cluster.execute(statement, row).await.map(|_| ())
        });
        self.cluster.all(marking).await
    }

    /// The latest of each collapse key: the greater write timestamp stays.
    async fn collapse(&self, batch: &[NewNotification]) -> Result<(), StoreError> {
        let statement = &self.cluster.statements.collapse;
        let with_key = batch
            .iter()
            .filter_map(|new| Some((new, new.envelope.collapse_key.as_ref()?)));
        let each = with_key.map(|(new, key)| async move {
            let latest = Latest::of(new);
            let row = (
                new.envelope.tenant_id.as_str(),
                new.stream.to_string(),
                key.as_str(),
                latest.lane(),
                latest.to_bytes(),
                latest.version(),
                life_of(new, self.retention),
            );
            self.cluster.execute(statement, row).await.map(|_| ())
        });
        self.cluster.all(each).await
    }

    /// Dispatches, with their places in their streams. First the places: who finds the fact does not write them again.
    pub(super) async fn dispatched(&self, batch: &[Dispatched]) -> Result<(), StoreError> {
        let life = life(self.retention);
        let facts = batch.iter().map(|fact| {
            let (tenant, id, node) = (&fact.tenant, &fact.id, &fact.node);
            let stamp = stamp(fact.redrive, fact.attempt, Status::Dispatched);
            fact_row(tenant, id, stamp, fact.at_ms, node, life)
        });
        let places = batch.iter().map(|fact| recent(fact, life)).collect();
        let by_partition = |a: &RecentRow<'_>, b: &RecentRow<'_>| a.partition().cmp(&b.partition());
        let statement = &self.cluster.statements.recent;
        self.together(statement, places, by_partition).await?;
        self.facts(facts).await
    }

    /// What happened beside. What waits may be asked for as long as anything may wait.
    pub(super) async fn note(&self, batch: &[Fact]) -> Result<(), StoreError> {
        let each = batch.iter().map(|fact| async move {
            let kept = match fact.stamp.status {
                Status::Scheduled | Status::Cancelled => Log::Ahead.kept(self.retention),
                _ => self.retention,
            };
            let stamp = stamp_of(fact.stamp);
            let row = fact_row(&fact.tenant, &fact.id, stamp, fact.at_ms, &fact.node, life(kept));
            let counted = fact.sessions.filter(|_| fact.stamp.status == Status::Delivered);
            let Some(sessions) = counted else {
                let statement = &self.cluster.statements.fact;
                return self.cluster.execute(statement, &row).await.map(|_| ());
            };
            let sessions = SessionsRow {
                written: most_wins(fact.at_ms, sessions),
                // It ends before its fact does: see there.
                life: shorter_life(kept),
                sessions: i32::try_from(sessions).unwrap_or(i32::MAX),
                tenant: row.tenant,
                id: row.id,
                stamp: row.stamp,
                node: row.node,
                day: row.day,
            };
            let statements = &self.cluster.statements;
            self.cluster
                .write_both((&statements.fact, row), (&statements.sessions, sessions))
                .await
        });
        self.cluster.all(each).await
    }

    async fn facts<'r>(&self, rows: impl Iterator<Item = FactRow<'r>>) -> Result<(), StoreError> {
        let statement = &self.cluster.statements.fact;
        let each = rows.map(|row| async move { self.cluster.execute(statement, &row).await.map(|_| ()) });
        self.cluster.all(each).await
    }

    /// Writes rows, those of one partition together in bounded groups.
    async fn together<R: SerializeRow>(
        &self,
        statement: &PreparedStatement,
        mut rows: Vec<R>,
        by_partition: impl Fn(&R, &R) -> Ordering,
    ) -> Result<(), StoreError> {
        rows.sort_by(&by_partition);
        let groups = rows
            .chunk_by(|a, b| by_partition(a, b).is_eq())
            .flat_map(|rows| rows.chunks(TOGETHER))
            .map(|rows| self.cluster.write_partition(statement, rows));
        self.cluster.all(groups).await
    }
}
