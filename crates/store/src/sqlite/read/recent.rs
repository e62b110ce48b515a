//! A stream's last notifications.
//!
//! In: a stream and perhaps a cursor. Out: its last notifications before it, oldest first.
//! Always: one whose payload has not come is not among them.

use bytes::Bytes;
use carillon_schemas::{Stream, TenantId, cursor::Cursor, limits};
use rusqlite::{Connection, params};

use super::envelope;
use crate::{RecentRow, sqlite::apply::time};

const RECENT: &str = "
    SELECT r.generation, r.shard, r.position, r.delivery, n.envelope
    FROM channel_recent r CROSS JOIN notifications n ON n.tenant = r.tenant AND n.id = r.id
    WHERE r.tenant = ?1 AND r.stream = ?2 AND r.expires_at > ?3
        AND (r.generation, r.shard, r.position) < (?4, ?5, ?6) AND n.envelope NOT NULL
    ORDER BY r.generation DESC, r.shard DESC, r.position DESC LIMIT ?7";

pub(in crate::sqlite) fn recent(
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
