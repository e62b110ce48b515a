//! Dead letters, jobs and audit trails, as they are shown.
//!
//! In: a query, or a name. Out: a page, or a row. Always: what was done with a letter last is shown with it.

use carillon_schemas::{
    NotificationId, TenantId,
    audit::AuditEntry,
    dead_letter::{DeadLetterId, DeadLetterRow, DeadLetterState, Job},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{milliseconds, named, page::page, shown};
use crate::{
    AuditQuery, AuditResult, DeadLettersQuery, DeadLettersResult, PageCursor, kept, sqlite::apply::time,
};

const OLDEST_FIRST: &str = "
    SELECT at, partition, position, expires_at, error_class, error_code, state, job, letter FROM dead_letters
    WHERE tenant = ?1 AND (at, partition, position) > (?2, ?3, ?4) AND at < ?5
    ORDER BY at, partition, position";

const NEWEST_FIRST: &str = "
    SELECT at, partition, position, expires_at, error_class, error_code, state, job, letter FROM dead_letters
    WHERE tenant = ?1 AND (at, partition, position) < (?2, ?3, ?4) AND at >= ?5
    ORDER BY at DESC, partition DESC, position DESC";

pub(in crate::sqlite) fn dead_letters(
    connection: &Connection,
    tenant: &TenantId,
    query: &DeadLettersQuery,
    now: u64,
) -> rusqlite::Result<DeadLettersResult> {
    let since = (time(query.since_ms.unwrap_or(0)), -1, -1);
    let until = (query.until_ms.map_or(i64::MAX, time), -1, -1);
    let cursor = query.cursor.map(|cursor| {
        let (partition, position) = kept::letter_place(cursor.id);
        (time(cursor.at_ms), partition, position)
    });
    let (text, from, end) = match query.oldest_first {
        true => (OLDEST_FIRST, cursor.unwrap_or(since).max(since), until.0),
        false => (NEWEST_FIRST, cursor.unwrap_or(until).min(until), since.0),
    };
    let mut statement = connection.prepare_cached(text)?;
    let found = statement.query(params![tenant.as_str(), from.0, from.1, from.2, end])?;
    let read = |row: &Row<'_>| {
        let shown = row.get::<_, i64>(3)? > time(now) && of_class(row, query)?;
        let letter = if shown { Some(letter(row)?) } else { None };
        let wanted = letter.filter(|letter| query.state.is_none_or(|state| state == letter.state));
        Ok((place(row)?, wanted))
    };
    let (rows, next) = page(found, query.limit, |_| 0, read)?;
    Ok(DeadLettersResult { rows, next })
}

fn place(row: &Row<'_>) -> rusqlite::Result<PageCursor> {
    let id = DeadLetterId {
        partition: row.get(1)?,
        offset: row.get(2)?,
    };
    Ok(PageCursor {
        at_ms: milliseconds(row, 0)?,
        id: kept::letter_id(id),
    })
}

fn of_class(row: &Row<'_>, query: &DeadLettersQuery) -> rusqlite::Result<bool> {
    let Some(class) = query.class.as_deref() else {
        return Ok(true);
    };
    Ok(row.get_ref(4)?.as_str()? == class || row.get_ref(5)?.as_str()? == class)
}

/// A letter as it was told, with what was done with it last.
fn letter(row: &Row<'_>) -> rusqlite::Result<DeadLetterRow> {
    let mut letter: DeadLetterRow = shown(row, 8)?;
    if let Some(state) = row.get_ref(6)?.as_str_or_null()? {
        letter.state = named(DeadLetterState::from_name(state), 6)?;
        letter.job_id = row.get::<_, Option<[u8; 16]>>(7)?.map(Uuid::from_bytes);
    }
    Ok(letter)
}

const ONE: &str = "
    SELECT at, partition, position, expires_at, error_class, error_code, state, job, letter
    FROM dead_letters INDEXED BY dead_letters_place
    WHERE tenant = ?1 AND partition = ?2 AND position = ?3 AND expires_at > ?4 LIMIT 1";

pub(in crate::sqlite) fn dead_letter(
    connection: &Connection,
    tenant: &TenantId,
    id: DeadLetterId,
    now: u64,
) -> rusqlite::Result<Option<DeadLetterRow>> {
    let key = params![tenant.as_str(), id.partition, id.offset, time(now)];
    connection.prepare_cached(ONE)?.query_row(key, letter).optional()
}

const JOB: &str = "SELECT job FROM jobs WHERE tenant = ?1 AND id = ?2 AND expires_at > ?3";

pub(in crate::sqlite) fn job(
    connection: &Connection,
    tenant: &TenantId,
    id: Uuid,
    now: u64,
) -> rusqlite::Result<Option<Job>> {
    let key = params![tenant.as_str(), id.as_bytes(), time(now)];
    connection
        .prepare_cached(JOB)?
        .query_row(key, |row| shown(row, 0))
        .optional()
}

const AUDIT: &str = "
    SELECT at, id, expires_at, kind, entry FROM audit
    WHERE tenant = ?1 AND (at, id) < (?2, ?3) AND at >= ?4
    ORDER BY at DESC, id DESC";

pub(in crate::sqlite) fn audit_trail(
    connection: &Connection,
    tenant: &TenantId,
    query: &AuditQuery,
    now: u64,
) -> rusqlite::Result<AuditResult> {
    let until = (query.until_ms.map_or(i64::MAX, time), [0; 16]);
    let cursor = query
        .cursor
        .map(|cursor| (time(cursor.at_ms), *cursor.id.as_bytes()));
    let (before, before_id) = cursor.unwrap_or(until).min(until);
    let since = time(query.since_ms.unwrap_or(0));
    let mut statement = connection.prepare_cached(AUDIT)?;
    let found = statement.query(params![tenant.as_str(), before, before_id, since])?;
    let read = |row: &Row<'_>| {
        let place = PageCursor {
            at_ms: milliseconds(row, 0)?,
            id: NotificationId::from_bytes(row.get(1)?),
        };
        let kind = row.get_ref(3)?.as_str()?;
        let other = query.kind.is_some_and(|wanted| wanted.as_str() != kind);
        let gone = row.get::<_, i64>(2)? <= time(now);
        let entry = if other || gone { None } else { Some(shown(row, 4)?) };
        Ok((place, entry))
    };
    let (entries, next) = page(found, query.limit, |_: &AuditEntry| 0, read)?;
    Ok(AuditResult { entries, next })
}
