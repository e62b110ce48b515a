//! Pages of a tenant's deliveries, newest first, and of its stored notifications, oldest first.
//!
//! In: a query. Out: a page. Always: what one page looks at is bounded, and so are the bytes that it holds.

use bytes::Bytes;
use carillon_schemas::{NotificationId, TenantId, http::DeliveryRow, limits};
use rusqlite::{Connection, Row, params};

use super::{SCAN_PER_ROW, envelope, milliseconds, parsed, stamp};
use crate::{
    DeliveriesQuery, DeliveriesResult, PageCursor, StoredQuery, StoredResult, StoredRow, kept,
    sqlite::apply::time,
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
    let limit = query.limit.clamp(1, limits::PAGE_ROWS) as usize;
    let scan = limit * SCAN_PER_ROW;
    // No id is as short as this one: it stands before all of its moment.
    let since = (time(query.since_ms), Vec::new());
    let cursor = query
        .cursor
        .map(|cursor| (time(cursor.at_ms), cursor.id.as_bytes().to_vec()));
    let (after, after_id) = cursor.unwrap_or_default().max(since);
    let until = time(query.until_ms);
    let mut statement = connection.prepare_cached(STORED)?;
    let mut found = statement.query(params![tenant.as_str(), after, after_id, until])?;
    let mut page = StoredResult {
        rows: Vec::new(),
        next: None,
    };
    let (mut scanned, mut bytes) = (0, 0);
    let mut last = None;
    while let Some(row) = found.next()? {
        if page.rows.len() == limit || scanned == scan || bytes >= kept::PAGE_BYTES {
            page.next = last;
            break;
        }
        scanned += 1;
        let place = PageCursor {
            at_ms: milliseconds(row, 0)?,
            id: NotificationId::from_bytes(row.get(1)?),
        };
        last = Some(place);
        let channel = row.get_ref(4)?.as_str()?;
        let other = query
            .channel
            .as_ref()
            .is_some_and(|wanted| wanted.as_str() != channel);
        if other || row.get::<_, i64>(3)? <= time(now) {
            continue;
        }
        let row = stored_row(row, place)?;
        bytes += row.bytes.len();
        page.rows.push(row);
    }
    Ok(page)
}

fn stored_row(row: &Row<'_>, place: PageCursor) -> rusqlite::Result<StoredRow> {
    let bytes = Bytes::from(row.get::<_, Vec<u8>>(5)?);
    Ok(StoredRow {
        envelope: envelope(&bytes, 5)?,
        bytes,
        stamp: stamp(row, 2)?,
        after: place,
    })
}
