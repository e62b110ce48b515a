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
    marks::Marks,
    times::{day, earliest_wins, hour, latest_wins, life, time},
};
use crate::{DeadLetter, Dispatched, NewNotification, StoreError};

/// How far an `accepted_at` may lie after the moment of reading: clocks differ. A notification from further
/// in the future stands in the deliveries at the moment it was read.
const CLOCK_SKEW_MS: u64 = 3_600_000;

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
    /// Payloads, with their places in their tenants' deliveries.
    pub(super) async fn persist(&self, batch: &[NewNotification]) -> Result<(), StoreError> {
        let life = life(self.retention);
        let statements = &self.cluster.statements;
        let payloads = batch.iter().map(|new| async move {
            let row = payload(new, life);
            self.cluster.execute(&statements.payload, &row).await.map(|_| ())
        });
        let places: Vec<_> = batch.iter().map(|new| place(new, life)).collect();
        let marks = self
            .marks
            .missing(places.iter().map(|p| (p.tenant, p.hour)), self.now_ms);
        let marking = marks.iter().map(|(tenant, hour)| async move {
            let row = (tenant.as_str(), hour, life);
            self.cluster.execute(&statements.mark, row).await.map(|_| ())
        });
        let by_partition = |a: &PlaceRow<'_>, b: &PlaceRow<'_>| a.partition().cmp(&b.partition());
        futures_util::future::try_join3(
            self.cluster.all(payloads),
            self.together(&statements.place, places, by_partition),
            self.cluster.all(marking),
        )
        .await?;
        self.marks.set(marks, self.now_ms);
        Ok(())
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

    /// Ends.
    pub(super) async fn dead(&self, batch: &[DeadLetter]) -> Result<(), StoreError> {
        let life = life(self.retention);
        let facts = batch.iter().filter_map(|fact| {
            let row = &fact.row;
            let stamp = stamp(row.redrive_count, row.attempt, Status::Dead);
            let id = row.notification_id.as_ref()?;
            Some(fact_row(&fact.tenant, id, stamp, row.at, &fact.node, life))
        });
        self.facts(facts).await
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

fn payload(new: &NewNotification, life: i32) -> PayloadRow<'_> {
    let envelope = &new.envelope;
    PayloadRow {
        tenant: envelope.tenant_id.as_str(),
        id: envelope.notification_id.as_bytes(),
        stamp: stamp(new.redrive, new.attempt, Status::Stored),
        node: &new.node,
        day: day(new.at_ms),
        at: time(new.at_ms),
        accepted_at: time(accepted_at(new)),
        channel: envelope.channel.as_str(),
        user: MaybeUnset::from_option(envelope.user_id.as_ref().map(|user| user.as_str())),
        correlation: envelope.correlation_id.as_str(),
        envelope: &new.bytes,
        written: earliest_wins(new.at_ms, lot(new)),
        life,
    }
}

/// Tells apart two payloads of one id that were read in one millisecond.
fn lot(new: &NewNotification) -> u64 {
    let of = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let text = new.envelope.correlation_id.as_str().bytes();
    let numbers = [new.envelope.accepted_at, new.bytes.len() as u64];
    text.chain(numbers.into_iter().flat_map(u64::to_be_bytes))
        .fold(0xcbf2_9ce4_8422_2325, of)
}

fn place(new: &NewNotification, life: i32) -> PlaceRow<'_> {
    let envelope = &new.envelope;
    let id = envelope.notification_id.as_bytes();
    let at = accepted_at(new);
    PlaceRow {
        tenant: envelope.tenant_id.as_str(),
        hour: hour(at),
        sub: (id[15] % SUBS).cast_signed(),
        at: time(at),
        id,
        channel: envelope.channel.as_str(),
        written: latest_wins(new.at_ms),
        life,
    }
}

impl PlaceRow<'_> {
    fn partition(&self) -> (&str, i32, i8) {
        (self.tenant, self.hour, self.sub)
    }
}

fn accepted_at(new: &NewNotification) -> u64 {
    let at = new.envelope.accepted_at;
    if at > new.at_ms.saturating_add(CLOCK_SKEW_MS) {
        return new.at_ms;
    }
    at
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
    let stamp = Stamp {
        redrive,
        attempt,
        status,
    };
    // Three bytes: it always fits.
    i32::try_from(stamp.packed()).unwrap_or(i32::MAX)
}
