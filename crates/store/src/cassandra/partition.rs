//! A notification's partition: rows into what is known of it.
//!
//! In: its facts, in any order, some with a payload. Out: its state, its time line, its payload.
//! Always: the state is the highest stamp, of a fact the earliest time counts, of the payloads the first; what
//! the retention is over for is not there.

use std::collections::BTreeMap;

use bytes::Bytes;
use carillon_schemas::{NotificationId, envelope::Envelope, http::DeliveryRow, status::Stamp};
use scylla::DeserializeRow;

use super::{failure::corrupt, times::from_column};
use crate::{
    Head, Known, PageCursor, StoreError, StoredRow,
    timeline::{self, Told},
};

/// A fact with its payload, where it brought one.
#[derive(Debug, DeserializeRow)]
pub(super) struct NotificationRow {
    stamp: i32,
    node: String,
    at: i64,
    accepted_at: Option<i64>,
    due_at: Option<i64>,
    sessions: Option<i32>,
    envelope: Option<Vec<u8>>,
}

impl NotificationRow {
    pub(super) fn fact(&self) -> FactRow {
        (self.stamp, self.at, self.due_at)
    }

    /// Of two payloads the one that was read first counts.
    fn order(&self) -> (i64, i32, &str) {
        (self.at, self.stamp, &self.node)
    }
}

/// A fact with what a list shows of its payload.
pub(super) type HeadRow = (
    i32,
    String,
    i64,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// A fact: its stamp, its time, and until when it waits.
pub(super) type FactRow = (i32, i64, Option<i64>);

const TABLE: &str = "notifications";

/// What counts from the last fact's time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) now_ms: u64,
    pub(super) retention_ms: u64,
}

impl Shown {
    /// Whether what was last told of at this time is shown now.
    pub(super) fn at(&self, last: i64) -> bool {
        from_column(last).saturating_add(self.retention_ms) > self.now_ms
    }
}

/// What is known without the payload; `None` without facts or when the time is over.
pub(super) fn head(
    rows: impl Iterator<Item = FactRow> + Clone,
    shown: &Shown,
) -> Result<Option<Head>, StoreError> {
    let last = rows
        .clone()
        .map(|(_, at, due_at)| at.max(due_at.unwrap_or(at)))
        .max();
    if !last.is_some_and(|last| shown.at(last)) {
        return Ok(None);
    }
    let facts = rows.map(|(packed, at, _)| Ok((unpacked(packed)?, from_column(at))));
    let facts = facts.collect::<Result<Vec<_>, StoreError>>()?;
    Ok(timeline::head(facts.into_iter()))
}

/// Everything; `None` as for [`head`], or before a payload came.
pub(super) fn known(rows: Vec<NotificationRow>, shown: &Shown) -> Result<Option<Known>, StoreError> {
    let Some(head) = head(rows.iter().map(NotificationRow::fact), shown)? else {
        return Ok(None);
    };
    let mut told = BTreeMap::<(i32, &str), (i64, Option<i32>)>::new();
    for row in &rows {
        let fact = told
            .entry((row.stamp, &row.node))
            .or_insert((row.at, row.sessions));
        *fact = (row.at.min(fact.0), row.sessions.max(fact.1));
    }
    let told = facts(told)?;
    let Some((bytes, envelope)) = payload(rows)? else {
        return Ok(None);
    };
    Ok(Some(Known {
        first_delivered_at: head.first_delivered_at,
        acked_at: head.acked_at,
        timeline: timeline::timeline(envelope.accepted_at, told),
        bytes,
        envelope,
        status: head.stamp.status,
    }))
}

/// Facts with their stamps read.
fn facts(told: BTreeMap<(i32, &str), (i64, Option<i32>)>) -> Result<Vec<Told>, StoreError> {
    let fact = |((packed, node), (at, sessions)): ((i32, &str), (i64, Option<i32>))| {
        Ok(Told {
            stamp: unpacked(packed)?,
            at: from_column(at),
            node: node.to_owned(),
            sessions: sessions.map(i32::unsigned_abs),
        })
    };
    told.into_iter().map(fact).collect()
}

/// A stored notification that stands at this moment of acceptance; `None` as for [`known`].
pub(super) fn stored(
    place: PageCursor,
    rows: Vec<NotificationRow>,
    shown: &Shown,
) -> Result<Option<StoredRow>, StoreError> {
    let Some(head) = head(rows.iter().map(NotificationRow::fact), shown)? else {
        return Ok(None);
    };
    let brought = rows.into_iter().filter(|row| row.envelope.is_some());
    let first = brought.min_by(|a, b| a.order().cmp(&b.order()));
    let there = first.filter(|row| row.accepted_at.map(from_column) == Some(place.at_ms));
    let Some(bytes) = there.and_then(|row| row.envelope) else {
        return Ok(None);
    };
    Ok(Some(StoredRow {
        envelope: envelope(&bytes)?,
        bytes: Bytes::from(bytes),
        stamp: head.stamp,
        after: place,
    }))
}

/// The payload alone, and whether or not its own time is over: what stands in a stream has a time of its own.
pub(super) fn payload(rows: Vec<NotificationRow>) -> Result<Option<(Bytes, Envelope)>, StoreError> {
    let Some(bytes) = payload_bytes(rows) else {
        return Ok(None);
    };
    let envelope = envelope(&bytes)?;
    Ok(Some((Bytes::from(bytes), envelope)))
}

/// The payload's bytes.
pub(super) fn payload_bytes(rows: Vec<NotificationRow>) -> Option<Vec<u8>> {
    let brought = rows.into_iter().filter(|row| row.envelope.is_some());
    let first = brought.min_by(|a, b| a.order().cmp(&b.order()));
    first.and_then(|row| row.envelope)
}

/// A row of a list; `None` as for [`known`].
pub(super) fn row(
    id: NotificationId,
    rows: Vec<HeadRow>,
    shown: &Shown,
) -> Result<Option<DeliveryRow>, StoreError> {
    let facts = rows.iter().map(|row| (row.0, row.2, row.3));
    let Some(head) = head(facts, shown)? else {
        return Ok(None);
    };
    let brought = rows.into_iter().filter(|row| row.4.is_some());
    let Some(first) = brought.min_by(|a, b| (a.2, a.0, &a.1).cmp(&(b.2, b.0, &b.1))) else {
        return Ok(None);
    };
    let (_, _, _, _, accepted_at, channel, user, correlation) = first;
    Ok(Some(DeliveryRow {
        notification_id: id,
        channel: parsed(channel.as_deref().unwrap_or(""))?,
        user_id: user.as_deref().map(parsed).transpose()?,
        status: head.stamp.status,
        accepted_at: from_column(accepted_at.unwrap_or(0)),
        correlation_id: parsed(correlation.as_deref().unwrap_or(""))?,
    }))
}

fn unpacked(packed: i32) -> Result<Stamp, StoreError> {
    Stamp::unpack(packed.into()).ok_or_else(|| corrupt(TABLE, &format_args!("{packed} is no stamp")))
}

fn envelope(bytes: &[u8]) -> Result<Envelope, StoreError> {
    Envelope::from_json(bytes).map_err(|error| corrupt(TABLE, &error))
}

fn parsed<T>(text: &str) -> Result<T, StoreError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.parse().map_err(|error| corrupt(TABLE, &error))
}
