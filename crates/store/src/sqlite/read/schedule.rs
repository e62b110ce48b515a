//! What is due.
//!
//! In: a partition and a moment. Out: the notifications that are due, with their payloads. Always: in the order
//! in which they are due, however long ago.

use bytes::Bytes;
use carillon_schemas::NotificationId;
use rusqlite::{Connection, OptionalExtension, params};

use super::{milliseconds, notifications::head, parsed};
use crate::{Due, Scheduled, sqlite::apply::time};

const DUE: &str = "
    SELECT due_at, tenant, id FROM scheduled WHERE partition = ?1 AND due_at <= ?2
    ORDER BY due_at, tenant, id LIMIT ?3";

const PAYLOAD: &str = "
    SELECT envelope FROM notifications
    WHERE tenant = ?1 AND id = ?2 AND expires_at > ?3 AND envelope NOT NULL";

pub(in crate::sqlite) fn due(
    connection: &Connection,
    partition: i32,
    due_ms: u64,
    limit: u32,
    now: u64,
) -> rusqlite::Result<Vec<Due>> {
    let mut statement = connection.prepare_cached(DUE)?;
    let places = statement.query_map(params![partition, time(due_ms), limit], |row| {
        Ok(Scheduled {
            partition,
            due_at_ms: milliseconds(row, 0)?,
            tenant: parsed(row.get_ref(1)?.as_str()?, 1)?,
            id: NotificationId::from_bytes(row.get(2)?),
        })
    })?;
    let mut payload = connection.prepare_cached(PAYLOAD)?;
    let each = places.map(|place| {
        let place = place?;
        let key = params![place.tenant.as_str(), place.id.as_bytes(), time(now)];
        let bytes = payload
            .query_row(key, |row| row.get::<_, Vec<u8>>(0))
            .optional()?;
        Ok(Due {
            bytes: bytes.map(Bytes::from),
            head: head(connection, &place.tenant, place.id, now)?,
            place,
        })
    });
    each.collect()
}
