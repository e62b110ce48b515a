//! Facts about notifications into rows.
//!
//! In: payloads, dispatches and other facts. Out: rows. Always: the ordinary life of a notification (stored,
//! dispatched, delivered, acknowledged, once each) stands in its own row; all else in the log.

use std::time::Duration;

use carillon_schemas::{
    NotificationId, TenantId, UserId,
    status::{Stamp, Status},
};
use rusqlite::{Connection, params};

use super::{Payload, expiry, time};
use crate::{Dispatched, Fact};

const PERSIST: &str = "
    INSERT INTO notifications
        (tenant, id, stamp, expires_at, stored_stamp, stored_at, dispatched_at, node,
         accepted_at, channel, user_id, correlation_id, envelope,
         delivered_at, acked_at, sessions, delivered_by)
    VALUES (?1, ?2, ?3, ?4, ?3, ?5, -1 - ?5, ?6, ?7, ?8, ?9, ?10, ?11, -1 - ?5, -1 - ?5, -1, ?6)
    ON CONFLICT DO NOTHING";

/// The row is there: facts came before, or this one came before.
const PERSIST_AGAIN: &str = "
    UPDATE notifications SET
        stamp = max(stamp, ?3),
        expires_at = max(expires_at, ?4),
        accepted_at = iif(envelope IS NULL, ?5, accepted_at),
        channel = iif(envelope IS NULL, ?6, channel),
        user_id = iif(envelope IS NULL, ?7, user_id),
        correlation_id = iif(envelope IS NULL, ?8, correlation_id),
        envelope = iif(envelope IS NULL, ?9, envelope)
    WHERE tenant = ?1 AND id = ?2";

pub(super) fn persist(
    connection: &Connection,
    batch: &[Payload],
    retention: Duration,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(PERSIST)?;
    for new in batch {
        let inserted = insert.execute(params![
            new.tenant.as_str(),
            new.id.as_bytes(),
            stamp(new.redrive, new.attempt, Status::Stored),
            expiry(new.counts_from, retention),
            time(new.at_ms),
            &*new.node,
            time(new.accepted_at),
            new.channel.as_str(),
            new.user.as_ref().map(UserId::as_str),
            new.correlation.as_str(),
            &*new.bytes,
        ])?;
        if inserted == 0 {
            persist_again(connection, new, retention)?;
        }
        collapse(connection, new, retention)?;
    }
    Ok(())
}

fn persist_again(connection: &Connection, new: &Payload, retention: Duration) -> rusqlite::Result<()> {
    let stamp = stamp(new.redrive, new.attempt, Status::Stored);
    connection.prepare_cached(PERSIST_AGAIN)?.execute(params![
        new.tenant.as_str(),
        new.id.as_bytes(),
        stamp,
        expiry(new.counts_from, retention),
        time(new.accepted_at),
        new.channel.as_str(),
        new.user.as_ref().map(UserId::as_str),
        new.correlation.as_str(),
        &*new.bytes,
    ])?;
    log(connection, &new.tenant, new.id, stamp, &new.node, new.at_ms, None)
}

/// The newer of two stays, and of one that is told again the longer time.
const COLLAPSE: &str = "
    INSERT INTO collapse_latest (tenant, stream, collapse_key, accepted_at, id, expires_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT DO UPDATE SET
        expires_at = iif((excluded.accepted_at, excluded.id) = (accepted_at, id),
            max(expires_at, excluded.expires_at), excluded.expires_at),
        accepted_at = excluded.accepted_at, id = excluded.id
    WHERE (excluded.accepted_at, excluded.id) >= (accepted_at, id)";

fn collapse(connection: &Connection, new: &Payload, retention: Duration) -> rusqlite::Result<()> {
    let Some((stream, key)) = &new.collapse else {
        return Ok(());
    };
    connection.prepare_cached(COLLAPSE)?.execute(params![
        new.tenant.as_str(),
        stream.to_string(),
        key.as_str(),
        time(new.accepted_at),
        new.id.as_bytes(),
        expiry(new.counts_from, retention),
    ])?;
    Ok(())
}

const RECENT: &str = "
    INSERT INTO channel_recent (tenant, stream, generation, shard, position, id, delivery, expires_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT DO UPDATE SET
        id = excluded.id, delivery = excluded.delivery, expires_at = max(expires_at, excluded.expires_at)";

/// The ordinary case: the first dispatch, by whom and in the attempt that stored it.
const DISPATCHED: &str = "
    UPDATE notifications SET
        stamp = max(stamp, ?3), expires_at = max(expires_at, ?4), dispatched_at = ?5
    WHERE tenant = ?1 AND id = ?2 AND dispatched_at < 0 AND stored_stamp = ?6 AND node = ?7";

pub(super) fn dispatched(
    connection: &Connection,
    batch: &[Dispatched],
    retention: Duration,
) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(DISPATCHED)?;
    let mut recent = connection.prepare_cached(RECENT)?;
    for fact in batch {
        let stamp_now = stamp(fact.redrive, fact.attempt, Status::Dispatched);
        let expires_at = expiry(fact.at_ms, retention);
        let updated = update.execute(params![
            fact.tenant.as_str(),
            fact.id.as_bytes(),
            stamp_now,
            expires_at,
            time(fact.at_ms),
            stamp(fact.redrive, fact.attempt, Status::Stored),
            &*fact.node,
        ])?;
        if updated == 0 {
            raise(connection, &fact.tenant, fact.id, stamp_now, expires_at)?;
            log(
                connection,
                &fact.tenant,
                fact.id,
                stamp_now,
                &fact.node,
                fact.at_ms,
                None,
            )?;
        }
        recent.execute(params![
            fact.tenant.as_str(),
            fact.stream.to_string(),
            fact.cursor.generation,
            fact.cursor.shard,
            fact.cursor.offset,
            fact.id.as_bytes(),
            fact.delivery,
            expires_at,
        ])?;
    }
    Ok(())
}

/// The ordinary case: delivered in the attempt that stored it, by one process.
const DELIVERED: &str = "
    UPDATE notifications SET
        stamp = max(stamp, ?3), expires_at = max(expires_at, ?4),
        delivered_at = iif(delivered_at >= 0, min(delivered_at, ?5), ?5),
        sessions = max(ifnull(sessions, -1), ?6), delivered_by = ?7
    WHERE tenant = ?1 AND id = ?2 AND stored_stamp = ?8
        AND (delivered_by = ?7 OR ifnull(delivered_at, -1) < 0)";

/// The ordinary case: acknowledged in that attempt, to the process that delivered it.
const ACKNOWLEDGED: &str = "
    UPDATE notifications SET
        stamp = max(stamp, ?3), expires_at = max(expires_at, ?4),
        acked_at = iif(acked_at >= 0, min(acked_at, ?5), ?5)
    WHERE tenant = ?1 AND id = ?2 AND stored_stamp = ?6 AND delivered_by = ?7 AND delivered_at >= 0";

pub(super) fn note(connection: &Connection, batch: &[Fact], retention: Duration) -> rusqlite::Result<()> {
    for fact in batch {
        let expires_at = expiry(fact.at_ms, retention);
        let updated = match fact.stamp.status {
            Status::Delivered => delivered(connection, fact, expires_at)?,
            Status::Acknowledged => acknowledged(connection, fact, expires_at)?,
            _ => 0,
        };
        if updated == 0 {
            let stamp = fact.stamp.packed();
            raise(connection, &fact.tenant, fact.id, stamp, expires_at)?;
            let sessions = fact.sessions.filter(|_| fact.stamp.status == Status::Delivered);
            log(
                connection,
                &fact.tenant,
                fact.id,
                stamp,
                &fact.node,
                fact.at_ms,
                sessions,
            )?;
        }
    }
    Ok(())
}

fn delivered(connection: &Connection, fact: &Fact, expires_at: i64) -> rusqlite::Result<usize> {
    connection.prepare_cached(DELIVERED)?.execute(params![
        fact.tenant.as_str(),
        fact.id.as_bytes(),
        fact.stamp.packed(),
        expires_at,
        time(fact.at_ms),
        fact.sessions.map_or(-1, |sessions| i64::from(sessions) + 1),
        &*fact.node,
        stamp(fact.stamp.redrive, fact.stamp.attempt, Status::Stored),
    ])
}

fn acknowledged(connection: &Connection, fact: &Fact, expires_at: i64) -> rusqlite::Result<usize> {
    connection.prepare_cached(ACKNOWLEDGED)?.execute(params![
        fact.tenant.as_str(),
        fact.id.as_bytes(),
        fact.stamp.packed(),
        expires_at,
        time(fact.at_ms),
        stamp(fact.stamp.redrive, fact.stamp.attempt, Status::Stored),
        &*fact.node,
    ])
}

const RAISE: &str = "
    INSERT INTO notifications (tenant, id, stamp, expires_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (tenant, id) DO UPDATE SET
        stamp = max(stamp, excluded.stamp), expires_at = max(expires_at, excluded.expires_at)";

/// Raises a notification's stamp, whether or not its payload has come.
pub(super) fn raise(
    connection: &Connection,
    tenant: &TenantId,
    id: NotificationId,
    stamp: i64,
    expires_at: i64,
) -> rusqlite::Result<()> {
    let row = params![tenant.as_str(), id.as_bytes(), stamp, expires_at];
    connection.prepare_cached(RAISE)?.execute(row).map(|_| ())
}

const LOG: &str = "
    INSERT INTO delivery_log (tenant, id, stamp, node, at, sessions) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT DO UPDATE SET
        at = min(at, excluded.at),
        sessions = max(ifnull(sessions, excluded.sessions), ifnull(excluded.sessions, sessions))
    WHERE excluded.at < at OR excluded.sessions > ifnull(sessions, -1)";

/// Adds to the time line what does not stand in the row.
pub(super) fn log(
    connection: &Connection,
    tenant: &TenantId,
    id: NotificationId,
    stamp: i64,
    node: &str,
    at_ms: u64,
    sessions: Option<u32>,
) -> rusqlite::Result<()> {
    let row = params![tenant.as_str(), id.as_bytes(), stamp, node, time(at_ms), sessions];
    connection.prepare_cached(LOG)?.execute(row).map(|_| ())
}

pub(super) fn stamp(redrive: u8, attempt: u8, status: Status) -> i64 {
    Stamp {
        redrive,
        attempt,
        status,
    }
    .packed()
}
