//! Pages of a tenant's deliveries, newest first, and of its stored notifications, oldest first.
//!
//! In: a query. Out: a page. Always: a row whose time is over is on no page.

use bytes::Bytes;
use carillon_schemas::{ChannelName, NotificationId, TenantId, http::DeliveryRow};
use rusqlite::{Connection, Row, params};

use super::{envelope, milliseconds, page::page, parsed, stamp};
use crate::{
    DeliveriesQuery, DeliveriesResult, PageCursor, StoredQuery, StoredResult, StoredRow, sqlite::apply::time,
};

const DELIVERIES: &str = "
    SELECT accepted_at, id, stamp, expires_at, channel, user_id, correlation_id
    FROM notifications INDEXED BY tenant_timeline
    WHERE tenant = ?1 AND accepted_at >= ?2 AND (accepted_at, id) < (?3, ?4)
    ORDER BY accepted_at DESC, id DESC";

pub(in crate::sqlite) fn deliveries(
    connection: &Connection,
    tenant: &TenantId,
    query: &DeliveriesQuery,
    now: u64,
) -> rusqlite::Result<DeliveriesResult> {
    let since = time(query.since_ms.unwrap_or(0));
    let (before, before_id) = match &query.cursor {
        Some(cursor) => (time(cursor.at_ms), *cursor.id.as_bytes()),
        None => (i64::MAX, [0xff; 16]),
    };
    let mut statement = connection.prepare_cached(DELIVERIES)?;
    let found = statement.query(params![tenant.as_str(), since, before, before_id])?;
    let (rows, next) = page(found, query.limit, |_| 0, |row| delivery(row, query, now))?;
    Ok(DeliveriesResult { rows, next })
}

fn delivery(
    row: &Row<'_>,
    query: &DeliveriesQuery,
    now: u64,
) -> rusqlite::Result<(PageCursor, Option<DeliveryRow>)> {
    let place = place(row)?;
    let status = stamp(row, 2)?.status;
    let channel = row.get_ref(4)?.as_str()?;
    let gone = row.get::<_, i64>(3)? <= time(now);
    if gone || is_other(query.channel.as_ref(), channel) || query.status.is_some_and(|s| s != status) {
        return Ok((place, None));
    }
    let user = row.get_ref(5)?.as_str_or_null()?;
    let row = DeliveryRow {
        notification_id: place.id,
        channel: parsed(channel, 4)?,
        user_id: user.map(|user| parsed(user, 5)).transpose()?,
        status,
        accepted_at: place.at_ms,
        correlation_id: parsed(row.get_ref(6)?.as_str()?, 6)?,
    };
    Ok((place, Some(row)))
}

fn place(row: &Row<'_>) -> rusqlite::Result<PageCursor> {
    Ok(PageCursor {
        at_ms: milliseconds(row, 0)?,
        id: NotificationId::from_bytes(row.get(1)?),
    })
}

/// Whether a channel is asked for, and another than this.
fn is_other(wanted: Option<&ChannelName>, channel: &str) -> bool {
    wanted.is_some_and(|wanted| wanted.as_str() != channel)
}

const STORED: &str = "
    SELECT accepted_at, id, stamp, expires_at, channel, envelope
    FROM notifications INDEXED BY tenant_timeline
    WHERE tenant = ?1 AND (accepted_at, id) > (?2, ?3) AND accepted_at < ?4
    ORDER BY accepted_at, id";

pub(in crate::sqlite) fn stored(
    connection: &Connection,
    tenant: &TenantId,
    query: &StoredQuery,
    now: u64,
) -> rusqlite::Result<StoredResult> {
    // No id is as short as this one: it stands before all of its moment.
    let since = (time(query.since_ms), Vec::new());
    let cursor = query
        .cursor
        .map(|cursor| (time(cursor.at_ms), cursor.id.as_bytes().to_vec()));
    let (after, after_id) = cursor.unwrap_or_default().max(since);
    let until = time(query.until_ms);
    let mut statement = connection.prepare_cached(STORED)?;
    let found = statement.query(params![tenant.as_str(), after, after_id, until])?;
    let weigh = |row: &StoredRow| row.bytes.len();
    let (rows, next) = page(found, query.limit, weigh, |row| stored_row(row, query, now))?;
    Ok(StoredResult { rows, next })
}

fn stored_row(
    row: &Row<'_>,
    query: &StoredQuery,
    now: u64,
) -> rusqlite::Result<(PageCursor, Option<StoredRow>)> {
    let place = place(row)?;
    let gone = row.get::<_, i64>(3)? <= time(now);
    if gone || is_other(query.channel.as_ref(), row.get_ref(4)?.as_str()?) {
        return Ok((place, None));
    }
    let bytes = Bytes::from(row.get::<_, Vec<u8>>(5)?);
    let row = StoredRow {
        envelope: envelope(&bytes, 5)?,
        bytes,
        stamp: stamp(row, 2)?,
        after: place,
    };
    Ok((place, Some(row)))
}
