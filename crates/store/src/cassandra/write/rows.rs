//! Rows as the statements take them: facts, payloads, and places in lists and streams.
//!
//! In: what was told. Out: the values of one statement each. Always: a write timestamp follows from what was told
//! alone, so that the order of writes decides nothing.

use std::time::Duration;

use carillon_schemas::{
    NotificationId, TenantId,
    status::{Stamp, Status},
};
use scylla::{SerializeRow, value::MaybeUnset};

use super::SUBS;
use crate::{
    Dispatched, NewNotification,
    cassandra::times::{day, earliest_wins, hour, latest_wins, life, time},
    kept,
};

/// A payload with the fact that brought it.
#[derive(SerializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(super) struct PayloadRow<'a> {
    pub(super) tenant: &'a str,
    pub(super) id: &'a [u8],
    pub(super) stamp: i32,
    pub(super) node: &'a str,
    pub(super) day: i32,
    pub(super) at: i64,
    pub(super) accepted_at: i64,
    pub(super) channel: &'a str,
    pub(super) user: MaybeUnset<&'a str>,
    pub(super) correlation: &'a str,
    pub(super) envelope: &'a [u8],
    pub(super) due_at: MaybeUnset<i64>,
    pub(super) written: i64,
    pub(super) life: i32,
}

/// A fact.
#[derive(SerializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(super) struct FactRow<'a> {
    pub(super) tenant: &'a str,
    pub(super) id: &'a [u8],
    pub(super) stamp: i32,
    pub(super) node: &'a str,
    pub(super) day: i32,
    pub(super) at: i64,
    pub(super) written: i64,
    pub(super) life: i32,
}

/// How many sessions of a process have it.
#[derive(SerializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(super) struct SessionsRow<'a> {
    pub(super) written: i64,
    pub(super) life: i32,
    pub(super) sessions: i32,
    pub(super) tenant: &'a str,
    pub(super) id: &'a [u8],
    pub(super) stamp: i32,
    pub(super) node: &'a str,
    pub(super) day: i32,
}

/// A place in a tenant's deliveries.
#[derive(SerializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(super) struct PlaceRow<'a> {
    pub(super) tenant: &'a str,
    pub(super) hour: i32,
    pub(super) sub: i8,
    pub(super) at: i64,
    pub(super) id: &'a [u8],
    pub(super) channel: &'a str,
    pub(super) written: i64,
    pub(super) life: i32,
}

/// A place in a stream.
#[derive(SerializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(super) struct RecentRow<'a> {
    pub(super) tenant: &'a str,
    pub(super) stream: String,
    pub(super) day: i32,
    pub(super) generation: i32,
    pub(super) shard: i32,
    pub(super) position: i64,
    pub(super) id: &'a [u8],
    pub(super) delivery: i32,
    pub(super) at: i64,
    pub(super) written: i64,
    pub(super) life: i32,
}

pub(super) fn payload(new: &NewNotification, retention: Duration) -> PayloadRow<'_> {
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
pub(super) fn ahead(new: &NewNotification) -> Option<Duration> {
    let ahead = kept::counts_from(new) - new.at_ms;
    (ahead > 0).then_some(Duration::from_millis(ahead))
}

pub(super) fn life_of(new: &NewNotification, retention: Duration) -> i32 {
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

pub(super) fn place(new: &NewNotification, retention: Duration) -> PlaceRow<'_> {
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
    pub(super) fn partition(&self) -> (&str, i32, i8) {
        (self.tenant, self.hour, self.sub)
    }
}

pub(super) fn fact_row<'a>(
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

pub(super) fn recent(fact: &Dispatched, life: i32) -> RecentRow<'_> {
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
    pub(super) fn partition(&self) -> (&str, &str, i32) {
        (self.tenant, &self.stream, self.day)
    }
}

pub(super) fn stamp(redrive: u8, attempt: u8, status: Status) -> i32 {
    stamp_of(Stamp {
        redrive,
        attempt,
        status,
    })
}

pub(super) fn stamp_of(stamp: Stamp) -> i32 {
    // Three bytes: it always fits.
    i32::try_from(stamp.packed()).unwrap_or(i32::MAX)
}
