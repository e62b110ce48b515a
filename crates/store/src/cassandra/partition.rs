//! A notification's partition: rows into what is known of it.
//!
//! In: its facts, in any order, some with a payload. Out: its state, its time line, its payload.
//! Always: the state is the highest stamp, of a fact the earliest time counts, of the payloads the first; what
//! the retention is over for is not there.

use std::collections::BTreeMap;

use bytes::Bytes;
use carillon_schemas::{
    NotificationId,
    envelope::Envelope,
    http::DeliveryRow,
    status::{Stamp, Status},
};

use super::{failure::corrupt, times::from_column};
use crate::{
    Known, StoreError,
    timeline::{Told, timeline},
};

/// A fact with its payload, where it brought one.
pub(super) type NotificationRow = (i32, String, i64, Option<Vec<u8>>);

/// A fact with what a list shows of its payload.
pub(super) type HeadRow = (
    i32,
    String,
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// A fact: its stamp and its time.
pub(super) type FactRow = (i32, i64);

const TABLE: &str = "notifications";

/// What counts from the last fact's time.
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

/// The state; `None` without facts or when the time is over.
pub(super) fn status(rows: &[FactRow], shown: &Shown) -> Result<Option<Status>, StoreError> {
    let last = rows.iter().map(|(_, at)| *at).max();
    if !last.is_some_and(|last| shown.at(last)) {
        return Ok(None);
    }
    let highest = rows.iter().map(|(stamp, _)| *stamp).max();
    highest
        .map(|packed| unpacked(packed).map(|stamp| stamp.status))
        .transpose()
}

/// Everything; `None` as for [`status`], or before a payload came.
pub(super) fn known(rows: Vec<NotificationRow>, shown: &Shown) -> Result<Option<Known>, StoreError> {
    let facts: Vec<FactRow> = rows.iter().map(|(stamp, _, at, _)| (*stamp, *at)).collect();
    let Some(status) = status(&facts, shown)? else {
        return Ok(None);
    };
    let mut told = BTreeMap::<(i32, String), i64>::new();
    let mut first: Option<((i64, i32, String), Vec<u8>)> = None;
    for (stamp, node, at, payload) in rows {
        let fact = told.entry((stamp, node.clone())).or_insert(at);
        *fact = at.min(*fact);
        let order = (at, stamp, node);
        if let Some(payload) = payload
            && first.as_ref().is_none_or(|(earlier, _)| order < *earlier)
        {
            first = Some((order, payload));
        }
    }
    let Some((_, bytes)) = first else { return Ok(None) };
    let envelope = envelope(&bytes)?;
    Ok(Some(Known {
        first_delivered_at: None,
        acked_at: None,
        timeline: timeline(envelope.accepted_at, self::facts(told)?),
        bytes: Bytes::from(bytes),
        envelope,
        status,
    }))
}

/// Facts with their stamps read.
fn facts(told: BTreeMap<(i32, String), i64>) -> Result<Vec<Told>, StoreError> {
    told.into_iter()
        .map(|((packed, node), at)| Ok((unpacked(packed)?, from_column(at), node)))
        .collect()
}

/// The payload alone, and whether or not its own time is over: what stands in a stream has a time of its own.
pub(super) fn payload(rows: Vec<NotificationRow>) -> Result<Option<(Bytes, Envelope)>, StoreError> {
    let brought = rows
        .into_iter()
        .filter_map(|(stamp, node, at, bytes)| Some(((at, stamp, node), bytes?)));
    let Some((_, bytes)) = brought.min_by(|a, b| a.0.cmp(&b.0)) else {
        return Ok(None);
    };
    let envelope = envelope(&bytes)?;
    Ok(Some((Bytes::from(bytes), envelope)))
}

/// A row of a list; `None` as for [`known`].
pub(super) fn row(
    id: NotificationId,
    rows: Vec<HeadRow>,
    shown: &Shown,
) -> Result<Option<DeliveryRow>, StoreError> {
    let facts: Vec<FactRow> = rows.iter().map(|row| (row.0, row.2)).collect();
    let Some(status) = status(&facts, shown)? else {
        return Ok(None);
    };
    let brought = rows.into_iter().filter(|row| row.3.is_some());
    let Some(first) = brought.min_by(|a, b| (a.2, a.0, &a.1).cmp(&(b.2, b.0, &b.1))) else {
        return Ok(None);
    };
    let (_, _, _, accepted_at, channel, user, correlation) = first;
    Ok(Some(DeliveryRow {
        notification_id: id,
        channel: parsed(channel.as_deref().unwrap_or(""))?,
        user_id: user.as_deref().map(parsed).transpose()?,
        status,
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
