//! Reads: rows into answers.
//!
//! In: a connection inside a read transaction, a tenant and a question. Out: the answer.
//! Always: every statement begins with the tenant, and none returns a row whose time is over.

use std::collections::BTreeMap;

use bytes::Bytes;
use carillon_schemas::{
    NotificationId, Stream, TenantId,
    cursor::Cursor,
    envelope::Envelope,
    http::DeliveryRow,
    limits,
    status::{Stamp, Status},
};
use rusqlite::{Connection, Error, OptionalExtension, Row, params, types::Type};

use super::apply::time;
use crate::{
    DeliveriesQuery, DeliveriesResult, Known, PageCursor, RecentRow,
    timeline::{Told, timeline},
};

/// Rows that a page of deliveries looks at, at most, for each row that it may hold.
const SCAN_PER_ROW: usize = 20;

const NOTIFICATION: &str = "
    SELECT stamp, envelope, stored_stamp, stored_at, dispatched_at, node FROM notifications
    WHERE tenant = ?1 AND id = ?2 AND expires_at > ?3 AND envelope NOT NULL";

pub(super) fn notification(
    connection: &Connection,
    tenant: &TenantId,
    id: NotificationId,
    now: u64,
) -> rusqlite::Result<Option<Known>> {
    let mut row = connection.prepare_cached(NOTIFICATION)?;
    let row = row.query_row(params![tenant.as_str(), id.as_bytes(), time(now)], |row| {
        let bytes = Bytes::from(row.get::<_, Vec<u8>>(1)?);
        Ok((stamp(row, 0)?.status, bytes, facts_in_row(row)?))
    });
    let Some((status, bytes, mut facts)) = row.optional()? else {
        return Ok(None);
    };
    add_logged(connection, tenant, id, &mut facts)?;
    let envelope = envelope(&bytes, 1)?;
    Ok(Some(Known {
        first_delivered_at: None,
        acked_at: None,
        timeline: timeline(envelope.accepted_at, told(facts)?),
        bytes,
        envelope,
        status,
    }))
}

/// What was told: by stamp and process, the earliest time.
type Facts = BTreeMap<(i64, String), i64>;

/// The facts that stand in the row itself, behind its first two columns.
fn facts_in_row(row: &Row<'_>) -> rusqlite::Result<Facts> {
    let mut facts = Facts::new();
    if let (Some(stored), Some(node)) = (row.get::<_, Option<i64>>(2)?, row.get::<_, Option<String>>(5)?) {
        let dispatched = stored - i64::from(Status::Stored.rank()) + i64::from(Status::Dispatched.rank());
        let dispatched_at: i64 = row.get(4)?;
        if dispatched_at >= 0 {
            facts.insert((dispatched, node.clone()), dispatched_at);
        }
        facts.insert((stored, node), row.get(3)?);
    }
    Ok(facts)
}

fn add_logged(
    connection: &Connection,
    tenant: &TenantId,
    id: NotificationId,
    facts: &mut Facts,
) -> rusqlite::Result<()> {
    let mut log = connection
        .prepare_cached("SELECT stamp, node, at FROM delivery_log WHERE tenant = ?1 AND id = ?2")?;
    let mut rows = log.query(params![tenant.as_str(), id.as_bytes()])?;
    while let Some(row) = rows.next()? {
        let at: i64 = row.get(2)?;
        let first = facts.entry((row.get(0)?, row.get(1)?)).or_insert(at);
        *first = at.min(*first);
    }
    Ok(())
}

/// Facts with their stamps and times read.
fn told(facts: Facts) -> rusqlite::Result<Vec<Told>> {
    let fact = |((packed, node), at)| {
        let stamp = Stamp::unpack(packed).ok_or(Error::IntegralValueOutOfRange(0, packed))?;
        let at = u64::try_from(at).map_err(|_| Error::IntegralValueOutOfRange(2, at))?;
        Ok((stamp, at, node))
    };
    facts.into_iter().map(fact).collect()
}

pub(super) fn statuses(
    connection: &Connection,
    tenant: &TenantId,
    ids: &[NotificationId],
    now: u64,
) -> rusqlite::Result<Vec<Option<Status>>> {
    let mut row = connection.prepare_cached(
        "SELECT stamp FROM notifications WHERE tenant = ?1 AND id = ?2 AND expires_at > ?3",
    )?;
    ids.iter()
        .map(|id| {
            let key = params![tenant.as_str(), id.as_bytes(), time(now)];
            row.query_row(key, |row| stamp(row, 0).map(|s| s.status))
                .optional()
        })
        .collect()
}

const DELIVERIES: &str = "
    SELECT accepted_at, id, stamp, expires_at, channel, user_id, correlation_id
    FROM notifications INDEXED BY tenant_timeline
    WHERE tenant = ?1 AND accepted_at >= ?2 AND (accepted_at, id) < (?3, ?4)
    ORDER BY accepted_at DESC, id DESC";

pub(super) fn deliveries(
    connection: &Connection,
    tenant: &TenantId,
    query: &DeliveriesQuery,
    now: u64,
) -> rusqlite::Result<DeliveriesResult> {
    let limit = query.limit.clamp(1, limits::PAGE_ROWS) as usize;
    let scan = limit * SCAN_PER_ROW;
    let since = time(query.since_ms.unwrap_or(0));
    let (before, before_id) = match &query.cursor {
        Some(cursor) => (time(cursor.at_ms), *cursor.id.as_bytes()),
        None => (i64::MAX, [0xff; 16]),
    };
    let mut statement = connection.prepare_cached(DELIVERIES)?;
    let mut found = statement.query(params![tenant.as_str(), since, before, before_id])?;
    let mut page = DeliveriesResult {
        rows: Vec::new(),
        next: None,
    };
    let mut scanned = 0;
    let mut last = None;
    while let Some(row) = found.next()? {
        if page.rows.len() == limit || scanned == scan {
            page.next = last;
            break;
        }
        scanned += 1;
        let at_ms = milliseconds(row, 0)?;
        let id = NotificationId::from_bytes(row.get(1)?);
        last = Some(PageCursor { at_ms, id });
        let status = stamp(row, 2)?.status;
        let channel: &str = row.get_ref(4)?.as_str()?;
        if row.get::<_, i64>(3)? <= time(now)
            || query.status.is_some_and(|wanted| wanted != status)
            || query
                .channel
                .as_ref()
                .is_some_and(|wanted| wanted.as_str() != channel)
        {
            continue;
        }
        page.rows.push(DeliveryRow {
            notification_id: id,
            channel: parsed(channel, 4)?,
            user_id: row
                .get_ref(5)?
                .as_str_or_null()?
                .map(|user| parsed(user, 5))
                .transpose()?,
            status,
            accepted_at: at_ms,
            correlation_id: parsed(row.get_ref(6)?.as_str()?, 6)?,
        });
    }
    Ok(page)
}

const RECENT: &str = "
    SELECT r.generation, r.shard, r.position, r.delivery, n.envelope
    FROM channel_recent r CROSS JOIN notifications n ON n.tenant = r.tenant AND n.id = r.id
    WHERE r.tenant = ?1 AND r.stream = ?2 AND r.expires_at > ?3
        AND (r.generation, r.shard, r.position) < (?4, ?5, ?6) AND n.envelope NOT NULL
    ORDER BY r.generation DESC, r.shard DESC, r.position DESC LIMIT ?7";

pub(super) fn recent(
    connection: &Connection,
    tenant: &TenantId,
    stream: &Stream,
    n: u32,
    before: Option<Cursor>,
    now: u64,
) -> rusqlite::Result<Vec<RecentRow>> {
    let end = (i64::from(u16::MAX) + 1, 0, 0);
    let (generation, shard, position) =
        before.map_or(end, |c| (i64::from(c.generation), i64::from(c.shard), c.offset));
    let mut statement = connection.prepare_cached(RECENT)?;
    let key = params![
        tenant.as_str(),
        stream.to_string(),
        time(now),
        generation,
        shard,
        position,
        n.min(limits::LAST_N),
    ];
    let found = statement.query_map(key, |row| {
        let bytes = Bytes::from(row.get::<_, Vec<u8>>(4)?);
        Ok(RecentRow {
            cursor: Cursor {
                generation: row.get(0)?,
                shard: row.get(1)?,
                offset: row.get(2)?,
            },
            delivery: row.get(3)?,
            envelope: envelope(&bytes, 4)?,
            bytes,
        })
    })?;
    let mut rows = found.collect::<rusqlite::Result<Vec<_>>>()?;
    rows.reverse();
    Ok(rows)
}

fn stamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Stamp> {
    let packed = row.get(column)?;
    Stamp::unpack(packed).ok_or(Error::IntegralValueOutOfRange(column, packed))
}

fn milliseconds(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let ms = row.get(column)?;
    u64::try_from(ms).map_err(|_| Error::IntegralValueOutOfRange(column, ms))
}

fn parsed<T>(text: &str, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse()
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

fn envelope(bytes: &[u8], column: usize) -> rusqlite::Result<Envelope> {
    Envelope::from_json(bytes)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error)))
}
