//! Writes: facts into rows.
//!
//! In: a batch. Out: the same in the tables, or an error after which it may be repeated whole.
//! Always: nothing is read before it is written; rows of one partition go together, and all the rest at once.

use std::{cmp::Ordering, time::Duration};

use carillon_schemas::{
    NotificationId, TenantId,
    status::{Stamp, Status},
};
use scylla::{
    SerializeRow, serialize::row::SerializeRow, statement::prepared::PreparedStatement, value::MaybeUnset,
};

use super::{
    cluster::Cluster,
    latest::Latest,
    logs::Log,
    marks::Marks,
    times::{day, earliest_wins, hour, latest_wins, life, most_wins, shorter_life, time},
};
use crate::{Dispatched, Fact, NewNotification, StoreError, kept};

mod letters;
mod schedule;

/// Most rows that go to a partition together: some 4 KB, below the size that Cassandra warns of (5 KiB).
const TOGETHER: usize = 32;

/// Partitions of an hour of a tenant's deliveries.
pub(super) const SUBS: u8 = 8;

/// A payload with the fact that brought it.
#[derive(SerializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
struct PayloadRow<'a> {
    tenant: &'a str,
    id: &'a [u8],
    stamp: i32,
    node: &'a str,
    day: i32,
    at: i64,
    accepted_at: i64,
    channel: &'a str,
    user: MaybeUnset<&'a str>,
    correlation: &'a str,
    envelope: &'a [u8],
    due_at: MaybeUnset<i64>,
    written: i64,
    life: i32,
}

/// A fact.
#[derive(SerializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
struct FactRow<'a> {
    tenant: &'a str,
    id: &'a [u8],
    stamp: i32,
    node: &'a str,
    day: i32,
    at: i64,
    written: i64,
    life: i32,
}

/// How many sessions of a process have it.
#[derive(SerializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
struct SessionsRow<'a> {
    written: i64,
    life: i32,
    sessions: i32,
    tenant: &'a str,
    id: &'a [u8],
    stamp: i32,
    node: &'a str,
    day: i32,
}

/// A place in a tenant's deliveries.
#[derive(SerializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
struct PlaceRow<'a> {
    tenant: &'a str,
    hour: i32,
    sub: i8,
    at: i64,
    id: &'a [u8],
    channel: &'a str,
    written: i64,
    life: i32,
}

/// A place in a stream.
#[derive(SerializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
struct RecentRow<'a> {
    tenant: &'a str,
    stream: String,
    day: i32,
    generation: i32,
    shard: i32,
    position: i64,
    id: &'a [u8],
    delivery: i32,
    at: i64,
    written: i64,
    life: i32,
}

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

    /// Dispatches, with their places in their streams.
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
        let places = self.together(statement, places, by_partition);
        futures_util::future::try_join(self.facts(facts), places)
            .await
            .map(|_| ())
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

fn payload(new: &NewNotification, retention: Duration) -> PayloadRow<'_> {
    let envelope = &new.envelope;
    PayloadRow {
        tenant: envelope.tenant_id.as_str(),
        id: envelope.notification_id.as_bytes(),
        stamp: stamp(new.redrive, new.attempt, Status::Stored),
        node: &new.node,
        day: day(new.at_ms),
        at: time(new.at_ms),
        accepted_at: time(kept::accepted_at(new)),
        channel: envelope.channel.as_str(),
        user: MaybeUnset::from_option(envelope.user_id.as_ref().map(|user| user.as_str())),
        correlation: envelope.correlation_id.as_str(),
        envelope: &new.bytes,
        due_at: MaybeUnset::from_option(ahead(new).map(|_| time(kept::counts_from(new)))),
        written: earliest_wins(new.at_ms, lot(new)),
        life: life_of(new, retention),
    }
}

/// How far ahead a payload's time begins to count; `None` when it does now.
fn ahead(new: &NewNotification) -> Option<Duration> {
    let ahead = kept::counts_from(new) - new.at_ms;
    (ahead > 0).then_some(Duration::from_millis(ahead))
}

fn life_of(new: &NewNotification, retention: Duration) -> i32 {
    life(retention.saturating_add(ahead(new).unwrap_or_default()))
}

/// Tells apart two payloads of one id that were read in one millisecond.
fn lot(new: &NewNotification) -> u64 {
    let of = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let text = new.envelope.correlation_id.as_str().bytes();
    let numbers = [new.envelope.accepted_at, new.bytes.len() as u64];
    text.chain(numbers.into_iter().flat_map(u64::to_be_bytes))
        .fold(0xcbf2_9ce4_8422_2325, of)
}

fn place(new: &NewNotification, retention: Duration) -> PlaceRow<'_> {
    let envelope = &new.envelope;
    let id = envelope.notification_id.as_bytes();
    let at = kept::accepted_at(new);
    PlaceRow {
        tenant: envelope.tenant_id.as_str(),
        hour: hour(at),
        sub: (id[15] % SUBS).cast_signed(),
        at: time(at),
        id,
        channel: envelope.channel.as_str(),
        written: latest_wins(new.at_ms),
        life: life_of(new, retention),
    }
}

impl PlaceRow<'_> {
    fn partition(&self) -> (&str, i32, i8) {
        (self.tenant, self.hour, self.sub)
    }
}

fn fact_row<'a>(
    tenant: &'a TenantId,
    id: &'a NotificationId,
    stamp: i32,
    at_ms: u64,
    node: &'a str,
    life: i32,
) -> FactRow<'a> {
    FactRow {
        tenant: tenant.as_str(),
        id: id.as_bytes(),
        stamp,
        node,
        day: day(at_ms),
        at: time(at_ms),
        written: earliest_wins(at_ms, 0),
        life,
    }
}

fn recent(fact: &Dispatched, life: i32) -> RecentRow<'_> {
    RecentRow {
        tenant: fact.tenant.as_str(),
        stream: fact.stream.to_string(),
        day: day(fact.at_ms),
        generation: fact.cursor.generation.into(),
        shard: fact.cursor.shard.into(),
        position: fact.cursor.offset,
        id: fact.id.as_bytes(),
        delivery: i32::try_from(fact.delivery).unwrap_or(i32::MAX),
        at: time(fact.at_ms),
        written: latest_wins(fact.at_ms),
        life,
    }
}

impl RecentRow<'_> {
    fn partition(&self) -> (&str, &str, i32) {
        (self.tenant, &self.stream, self.day)
    }
}

fn stamp(redrive: u8, attempt: u8, status: Status) -> i32 {
    stamp_of(Stamp {
        redrive,
        attempt,
        status,
    })
}

fn stamp_of(stamp: Stamp) -> i32 {
    // Three bytes: it always fits.
    i32::try_from(stamp.packed()).unwrap_or(i32::MAX)
}
