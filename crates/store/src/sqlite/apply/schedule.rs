//! The schedule's rows.
//!
//! In: places of notifications that wait. Out: rows, or fewer of them. Always: a row that nobody takes out ends
//! its retention after it was due.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::{expiry, time};
use crate::Scheduled;

const PUT: &str = "
    INSERT INTO scheduled (partition, due_at, tenant, id, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT DO NOTHING";

pub(super) fn put(connection: &Connection, batch: &[Scheduled], retention: Duration) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(PUT)?;
    for place in batch {
        put.execute(params![
            place.partition,
            time(place.due_at_ms),
            place.tenant.as_str(),
            place.id.as_bytes(),
            expiry(place.due_at_ms, retention),
        ])?;
    }
    Ok(())
}

const TAKE_OUT: &str = "
    DELETE FROM scheduled WHERE partition = ?1 AND due_at = ?2 AND tenant = ?3 AND id = ?4";

pub(super) fn take_out(connection: &Connection, batch: &[Scheduled]) -> rusqlite::Result<()> {
    let mut take_out = connection.prepare_cached(TAKE_OUT)?;
    for place in batch {
        take_out.execute(params![
            place.partition,
            time(place.due_at_ms),
            place.tenant.as_str(),
            place.id.as_bytes(),
        ])?;
    }
    Ok(())
}
