//! Entries of audit trails into rows.
//!
//! In: entries. Out: rows. Always: of an entry that is told twice the first stays.

use std::time::Duration;

use carillon_schemas::audit::AuditEntry;
use rusqlite::{Connection, params};

use super::{expiry, json, time};

const KEEP: &str = "
    INSERT INTO audit (tenant, at, id, expires_at, kind, entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT DO NOTHING";

pub(super) fn keep(
    connection: &Connection,
    batch: &[AuditEntry],
    retention: Duration,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(KEEP)?;
    for entry in batch {
        insert.execute(params![
            entry.tenant_id.as_str(),
            time(entry.at),
            entry.id.as_bytes(),
            expiry(entry.at, retention),
            entry.kind.as_str(),
            json(entry)?,
        ])?;
    }
    Ok(())
}

/// Bytes of its texts.
pub(super) fn text_bytes(entry: &AuditEntry) -> usize {
    let texts = [&entry.actor, &entry.subject, &entry.detail];
    texts.into_iter().flatten().map(String::len).sum()
}
