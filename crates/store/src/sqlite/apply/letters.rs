//! Dead letters into rows.
//!
//! In: dead letters, and what was done with them. Out: rows of the index, and the ends of the notifications that
//! they name. Always: a mark stays when its row is told again; of two marks the later stays.

use std::time::Duration;

use carillon_schemas::{TenantId, status::Status};
use rusqlite::{Connection, params};

use super::{
    expiry,
    facts::{log, raise, stamp},
    json, time,
};
use crate::{DeadLetter, DeadLetterMark, kept};

const DEAD: &str = "
    INSERT INTO dead_letters
        (tenant, at, partition, position, expires_at, error_class, error_code, letter)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT DO NOTHING";

pub(super) fn dead(
    connection: &Connection,
    batch: &[DeadLetter],
    retention: Duration,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(DEAD)?;
    for dead in batch {
        let row = &dead.row;
        insert.execute(params![
            dead.tenant.as_str(),
            time(row.at),
            row.id.partition,
            row.id.offset,
            expiry(row.at, kept::dead_letters(retention)),
            row.error_class,
            row.error_code,
            json(row)?,
        ])?;
        let Some(id) = row.notification_id else { continue };
        let stamp = stamp(row.redrive_count, row.attempt, Status::Dead);
        raise(connection, &dead.tenant, id, stamp, expiry(row.at, retention))?;
        log(connection, &dead.tenant, id, stamp, &dead.node, row.at, None)?;
    }
    Ok(())
}

const MARK: &str = "
    UPDATE dead_letters SET state = ?5, job = ?6, marked = ?7
    WHERE tenant = ?1 AND at = ?2 AND partition = ?3 AND position = ?4 AND ?7 > ifnull(marked, -1)";

pub(super) fn mark(
    connection: &Connection,
    tenant: &TenantId,
    marks: &[DeadLetterMark],
) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(MARK)?;
    for mark in marks {
        update.execute(params![
            tenant.as_str(),
            time(mark.at_ms),
            mark.id.partition,
            mark.id.offset,
            mark.state.as_str(),
            mark.job.as_bytes(),
            kept::mark_version(mark),
        ])?;
    }
    Ok(())
}
