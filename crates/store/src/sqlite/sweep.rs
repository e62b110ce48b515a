//! The sweep: expired rows go, a slice at a time.
//!
//! In: the time, between two groups of writes. Out: fewer rows.
//! Always: a slice is one short transaction; a lap visits every tenant and stream by key, so it needs no
//! index of its own on the tables that are written most; the others have one of their rows' ends.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::apply::time;
use crate::kept::CLOCK_SKEW_MS;

/// Most rows that one slice looks at in one tenant or stream, and about as many as it removes.
const ROWS: usize = 256;

/// Most tenants or streams that one slice looks at.
const PLACES: usize = 64;

/// Where a lap stands.
#[derive(Debug, Default)]
pub(super) struct Sweep(Place);

#[derive(Debug)]
enum Place {
    Tenant(Tenant),
    Shard(Shard),
    /// The tables with an index of their rows' ends.
    Dated(usize),
}

impl Default for Place {
    fn default() -> Self {
        Self::Tenant(Tenant::default())
    }
}

/// A tenant, looked at as far as this row of its time line; `None` when it is done with.
#[derive(Debug, Clone, Default)]
struct Tenant {
    tenant: String,
    after: Option<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    accepted_at: i64,
    id: [u8; 16],
}

/// One stream on one shard: there, the order of positions is the order of time.
#[derive(Debug, Clone, Default)]
struct Shard {
    tenant: String,
    stream: String,
    generation: i64,
    shard: i64,
}

/// What a slice did.
pub(super) struct Slice {
    pub(super) removed: usize,
    pub(super) lap_ended: bool,
}

impl Sweep {
    /// Removes up to a slice's worth of what has expired, and goes on from there the next time.
    pub(super) fn slice(
        &mut self,
        connection: &mut Connection,
        now_ms: u64,
        retention: Duration,
    ) -> rusqlite::Result<Slice> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = time(now_ms);
        let (next, removed) = match &self.0 {
            Place::Tenant(at) => tenants(&transaction, at.clone(), now, retention)?,
            Place::Shard(done) => shards(&transaction, done.clone(), now)?,
            Place::Dated(table) => dated_rows(&transaction, *table, now)?,
        };
        transaction.commit()?;
        let lap_ended = next.is_none();
        self.0 = next.unwrap_or_default();
        Ok(Slice { removed, lap_ended })
    }
}

fn tenants(
    connection: &Connection,
    mut at: Tenant,
    now: i64,
    retention: Duration,
) -> rusqlite::Result<(Option<Place>, usize)> {
    let mut next = connection
        .prepare_cached("SELECT tenant FROM notifications WHERE tenant > ?1 ORDER BY tenant LIMIT 1")?;
    let mut removed = 0;
    for _ in 0..PLACES {
        if at.after.is_none() {
            let Some(tenant) = next.query_row([&at.tenant], |row| row.get(0)).optional()? else {
                return Ok((Some(Place::Shard(Shard::default())), removed));
            };
            at.tenant = tenant;
            removed += without_payload(connection, &at.tenant, now)?;
        }
        removed += dated(connection, &mut at, now, retention)?;
        if removed >= ROWS {
            break;
        }
    }
    Ok((Some(Place::Tenant(at)), removed))
}

/// A notification expires its retention after its last fact, hence (clocks differ by up to `CLOCK_SKEW_MS`)
/// not before its retention after it was accepted: no row behind that moment is looked at.
const EXPIRED: &str = "
    SELECT accepted_at, id, expires_at FROM notifications INDEXED BY tenant_timeline
    WHERE tenant = ?1 AND accepted_at <= ?2 AND (accepted_at, id) > (?3, ?4)
    ORDER BY accepted_at, id LIMIT ?5";

fn dated(connection: &Connection, at: &mut Tenant, now: i64, retention: Duration) -> rusqlite::Result<usize> {
    let kept_for = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let horizon = now.saturating_sub(kept_for).saturating_add(time(CLOCK_SKEW_MS));
    let after = at.after.unwrap_or(Row {
        accepted_at: -1,
        id: [0; 16],
    });
    let mut query = connection.prepare_cached(EXPIRED)?;
    let key = params![at.tenant, horizon, after.accepted_at, after.id, ROWS as i64];
    let rows = query.query_map(key, |row| {
        let accepted_at = row.get(0)?;
        Ok((
            Row {
                accepted_at,
                id: row.get(1)?,
            },
            row.get::<_, i64>(2)?,
        ))
    })?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    at.after = rows.last().filter(|_| rows.len() == ROWS).map(|(row, _)| *row);
    let expired = rows.iter().filter(|(_, expires_at)| *expires_at <= now);
    remove(connection, &at.tenant, expired.map(|(row, _)| row.id))
}

const WITHOUT_PAYLOAD: &str = "
    SELECT id, expires_at FROM notifications INDEXED BY tenant_timeline
    WHERE tenant = ?1 AND accepted_at IS NULL ORDER BY id LIMIT ?2";

fn without_payload(connection: &Connection, tenant: &str, now: i64) -> rusqlite::Result<usize> {
    let mut query = connection.prepare_cached(WITHOUT_PAYLOAD)?;
    let rows = query.query_map(params![tenant, ROWS as i64], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?))
    })?;
    let rows = rows.collect::<rusqlite::Result<Vec<([u8; 16], i64)>>>()?;
    let expired = rows.iter().filter(|(_, expires_at)| *expires_at <= now);
    remove(connection, tenant, expired.map(|(id, _)| *id))
}

fn remove(
    connection: &Connection,
    tenant: &str,
    ids: impl Iterator<Item = [u8; 16]>,
) -> rusqlite::Result<usize> {
    let mut log = connection.prepare_cached("DELETE FROM delivery_log WHERE tenant = ?1 AND id = ?2")?;
    let mut row = connection.prepare_cached("DELETE FROM notifications WHERE tenant = ?1 AND id = ?2")?;
    let mut removed = 0;
    for id in ids {
        log.execute(params![tenant, id])?;
        removed += row.execute(params![tenant, id])?;
    }
    Ok(removed)
}

const NEXT_SHARD: &str = "
    SELECT tenant, stream, generation, shard FROM channel_recent
    WHERE (tenant, stream, generation, shard) > (?1, ?2, ?3, ?4)
    ORDER BY tenant, stream, generation, shard LIMIT 1";

fn shards(connection: &Connection, mut done: Shard, now: i64) -> rusqlite::Result<(Option<Place>, usize)> {
    let mut next = connection.prepare_cached(NEXT_SHARD)?;
    let mut removed = 0;
    for _ in 0..PLACES {
        let after = params![done.tenant, done.stream, done.generation, done.shard];
        let found = next.query_row(after, |row| {
            Ok(Shard {
                tenant: row.get(0)?,
                stream: row.get(1)?,
                generation: row.get(2)?,
                shard: row.get(3)?,
            })
        });
        let Some(shard) = found.optional()? else {
            return Ok((Some(Place::Dated(0)), removed));
        };
        let gone = recent(connection, &shard, now)?;
        removed += gone;
        if gone == ROWS {
            break;
        }
        done = shard;
        if removed >= ROWS {
            break;
        }
    }
    Ok((Some(Place::Shard(done)), removed))
}

const HEAD: &str = "
    SELECT position, expires_at FROM channel_recent
    WHERE tenant = ?1 AND stream = ?2 AND generation = ?3 AND shard = ?4
    ORDER BY position LIMIT ?5";

const REMOVE_RECENT: &str = "
    DELETE FROM channel_recent
    WHERE tenant = ?1 AND stream = ?2 AND generation = ?3 AND shard = ?4 AND position = ?5";

fn recent(connection: &Connection, at: &Shard, now: i64) -> rusqlite::Result<usize> {
    let mut head = connection.prepare_cached(HEAD)?;
    let mut remove = connection.prepare_cached(REMOVE_RECENT)?;
    let key = params![at.tenant, at.stream, at.generation, at.shard, ROWS as i64];
    let rows = head.query_map(key, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    let mut removed = 0;
    for (position, expires_at) in rows.collect::<rusqlite::Result<Vec<_>>>()? {
        if expires_at <= now {
            removed += remove.execute(params![at.tenant, at.stream, at.generation, at.shard, position])?;
        }
    }
    Ok(removed)
}

/// Tables with an index of their rows' ends, each with its key.
const DATED: [(&str, &str); 6] = [
    ("idempotency", "tenant, key"),
    ("collapse_latest", "tenant, stream, collapse_key"),
    ("scheduled", "partition, due_at, tenant, id"),
    ("dead_letters", "tenant, at, partition, position"),
    ("jobs", "tenant, id"),
    ("audit", "tenant, at, id"),
];

fn dated_rows(connection: &Connection, from: usize, now: i64) -> rusqlite::Result<(Option<Place>, usize)> {
    let mut removed = 0;
    for (at, (name, key)) in DATED.iter().enumerate().skip(from) {
        let remove = format!(
            "DELETE FROM {name} WHERE ({key}) IN (
                SELECT {key} FROM {name} INDEXED BY {name}_expiry WHERE expires_at <= ?1 LIMIT ?2)"
        );
        let mut remove = connection.prepare_cached(&remove)?;
        removed += remove.execute(params![now, ROWS as i64])?;
        if removed >= ROWS {
            return Ok((Some(Place::Dated(at)), removed));
        }
    }
    Ok((None, removed))
}
