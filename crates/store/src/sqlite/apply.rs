//! Writes: facts into rows.
//!
//! In: a piece of work inside an open transaction. Out: rows, and a claim's outcome.
//! Always: every statement may be repeated and reordered (the highest stamp, the earliest time and the first
//! payload stay), and none of them reads before it writes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use carillon_schemas::{
    ChannelName, CorrelationId, IdempotencyKey, NotificationId, TenantId, UserId,
    status::{Stamp, Status},
};
use rusqlite::{Connection, params};

use crate::{Claim, ClaimOutcome, DeadLetter, Dispatched, NewNotification};

/// How long an idempotency key stays claimed.
const CLAIMED_FOR: Duration = Duration::from_secs(24 * 3600);

/// How far an `accepted_at` may lie after the moment of reading: clocks differ. A notification from further
/// in the future stands in the deliveries at the moment it was read, so that it is removed one day.
pub(super) const CLOCK_SKEW_MS: u64 = 3_600_000;

/// What a notification leaves in the store, without its decoded text.
pub(super) struct Payload {
    tenant: TenantId,
    id: NotificationId,
    channel: ChannelName,
    user: Option<UserId>,
    correlation: CorrelationId,
    accepted_at: u64,
    bytes: Bytes,
    attempt: u8,
    redrive: u8,
    at_ms: u64,
    node: Arc<str>,
}

impl From<&NewNotification> for Payload {
    fn from(new: &NewNotification) -> Self {
        let envelope = &new.envelope;
        let accepted_at = match envelope.accepted_at > new.at_ms.saturating_add(CLOCK_SKEW_MS) {
            true => new.at_ms,
            false => envelope.accepted_at,
        };
        Self {
            tenant: envelope.tenant_id.clone(),
            id: envelope.notification_id,
            channel: envelope.channel.clone(),
            user: envelope.user_id.clone(),
            correlation: envelope.correlation_id.clone(),
            accepted_at,
            bytes: new.bytes.clone(),
            attempt: new.attempt,
            redrive: new.redrive,
            at_ms: new.at_ms,
            node: Arc::clone(&new.node),
        }
    }
}

/// A piece of work that is done whole or not at all.
pub(super) enum Work {
    Persist(Vec<Payload>),
    Dispatched(Vec<Dispatched>),
    Dead(Vec<DeadLetter>),
    Claim(TenantId, IdempotencyKey, Claim),
    #[cfg(test)]
    Panic,
    #[cfg(test)]
    Refused,
}

/// What came of it.
pub(super) enum Outcome {
    Done,
    Claimed(ClaimOutcome),
}

impl Work {
    /// Sorted by key: neighbours share pages.
    pub(super) fn persist(batch: &[NewNotification]) -> Self {
        let mut batch: Vec<_> = batch.iter().map(Payload::from).collect();
        batch.sort_by(|a, b| (&a.tenant, &a.id).cmp(&(&b.tenant, &b.id)));
        Self::Persist(batch)
    }

    /// Sorted by key: neighbours share pages.
    pub(super) fn dispatched(batch: &[Dispatched]) -> Self {
        let mut batch = batch.to_vec();
        batch.sort_by(|a, b| (&a.tenant, &a.id).cmp(&(&b.tenant, &b.id)));
        Self::Dispatched(batch)
    }

    /// Rows of the caller's batch.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Persist(batch) => batch.len(),
            Self::Dispatched(batch) => batch.len(),
            Self::Dead(batch) => batch.len(),
            _ => 1,
        }
    }

    /// About how many bytes it holds while it waits.
    pub(super) fn bytes(&self) -> usize {
        const FIXED: usize = 256;
        let payload = match self {
            Self::Persist(batch) => batch.iter().map(|new| new.bytes.len()).sum(),
            _ => 0,
        };
        payload + FIXED * self.rows()
    }

    /// Does it on a connection inside a transaction.
    pub(super) fn apply(&self, connection: &Connection, retention: Duration) -> rusqlite::Result<Outcome> {
        match self {
            Self::Persist(batch) => persist(connection, batch, retention)?,
            Self::Dispatched(batch) => dispatched(connection, batch, retention)?,
            Self::Dead(batch) => dead(connection, batch, retention)?,
            Self::Claim(tenant, key, new) => {
                return claim(connection, tenant, key, new).map(Outcome::Claimed);
            }
            #[cfg(test)]
            Self::Panic => panic!("asked for by a test"),
            #[cfg(test)]
            Self::Refused => {
                return Err(rusqlite::Error::ToSqlConversionFailure(
                    "asked for by a test".into(),
                ));
            }
        }
        Ok(Outcome::Done)
    }
}

const PERSIST: &str = "
    INSERT INTO notifications
        (tenant, id, stamp, expires_at, stored_stamp, stored_at, dispatched_at, node,
         accepted_at, channel, user_id, correlation_id, envelope)
    VALUES (?1, ?2, ?3, ?4, ?3, ?5, -1 - ?5, ?6, ?7, ?8, ?9, ?10, ?11)
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

fn persist(connection: &Connection, batch: &[Payload], retention: Duration) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(PERSIST)?;
    for new in batch {
        let inserted = insert.execute(params![
            new.tenant.as_str(),
            new.id.as_bytes(),
            stamp(new.redrive, new.attempt, Status::Stored),
            expiry(new.at_ms, retention),
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
    }
    Ok(())
}

fn persist_again(connection: &Connection, new: &Payload, retention: Duration) -> rusqlite::Result<()> {
    let stamp = stamp(new.redrive, new.attempt, Status::Stored);
    connection.prepare_cached(PERSIST_AGAIN)?.execute(params![
        new.tenant.as_str(),
        new.id.as_bytes(),
        stamp,
        expiry(new.at_ms, retention),
        time(new.accepted_at),
        new.channel.as_str(),
        new.user.as_ref().map(UserId::as_str),
        new.correlation.as_str(),
        &*new.bytes,
    ])?;
    log(connection, &new.tenant, new.id, stamp, &new.node, new.at_ms)
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

fn dispatched(connection: &Connection, batch: &[Dispatched], retention: Duration) -> rusqlite::Result<()> {
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

fn dead(connection: &Connection, batch: &[DeadLetter], retention: Duration) -> rusqlite::Result<()> {
    for fact in batch {
        let row = &fact.row;
        let Some(id) = row.notification_id else { continue };
        let stamp = stamp(row.redrive_count, row.attempt, Status::Dead);
        raise(connection, &fact.tenant, id, stamp, expiry(row.at, retention))?;
        log(connection, &fact.tenant, id, stamp, &fact.node, row.at)?;
    }
    Ok(())
}

const CLAIM: &str = "
    INSERT INTO idempotency (tenant, key, id, body_hash, at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (tenant, key) DO UPDATE SET
        id = excluded.id, body_hash = excluded.body_hash, at = excluded.at, expires_at = excluded.expires_at
    WHERE expires_at <= excluded.at
        OR (id = excluded.id AND body_hash = excluded.body_hash AND at = excluded.at)";

const CLAIMED: &str = "SELECT id, body_hash, at FROM idempotency WHERE tenant = ?1 AND key = ?2";

fn claim(
    connection: &Connection,
    tenant: &TenantId,
    key: &IdempotencyKey,
    new: &Claim,
) -> rusqlite::Result<ClaimOutcome> {
    let claimed = connection.prepare_cached(CLAIM)?.execute(params![
        tenant.as_str(),
        key.as_str(),
        new.id.as_bytes(),
        &new.body_hash,
        time(new.at_ms),
        expiry(new.at_ms, CLAIMED_FOR),
    ])?;
    if claimed == 1 {
        return Ok(ClaimOutcome::New);
    }
    let mut holder = connection.prepare_cached(CLAIMED)?;
    let holder = holder.query_row(params![tenant.as_str(), key.as_str()], |row| {
        Ok(Claim {
            id: NotificationId::from_bytes(row.get(0)?),
            body_hash: row.get(1)?,
            at_ms: row.get::<_, i64>(2)?.unsigned_abs(),
        })
    });
    Ok(ClaimOutcome::Existing(holder?))
}

const RAISE: &str = "
    INSERT INTO notifications (tenant, id, stamp, expires_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (tenant, id) DO UPDATE SET
        stamp = max(stamp, excluded.stamp), expires_at = max(expires_at, excluded.expires_at)";

/// Raises a notification's stamp, whether or not its payload has come.
fn raise(
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
    INSERT INTO delivery_log (tenant, id, stamp, node, at) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT DO UPDATE SET at = excluded.at WHERE excluded.at < at";

/// Adds to the time line what does not stand in the row.
fn log(
    connection: &Connection,
    tenant: &TenantId,
    id: NotificationId,
    stamp: i64,
    node: &str,
    at_ms: u64,
) -> rusqlite::Result<()> {
    let row = params![tenant.as_str(), id.as_bytes(), stamp, node, time(at_ms)];
    connection.prepare_cached(LOG)?.execute(row).map(|_| ())
}

fn stamp(redrive: u8, attempt: u8, status: Status) -> i64 {
    Stamp {
        redrive,
        attempt,
        status,
    }
    .packed()
}

/// Unix milliseconds as SQLite keeps them; what is beyond its range counts as the end of time.
pub(super) fn time(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn expiry(at_ms: u64, kept_for: Duration) -> i64 {
    let kept_for = u64::try_from(kept_for.as_millis()).unwrap_or(u64::MAX);
    time(at_ms.saturating_add(kept_for))
}
