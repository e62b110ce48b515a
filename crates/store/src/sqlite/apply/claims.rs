//! Claims of idempotency keys into rows.
//!
//! In: a tenant's key and a claim. Out: whose it is. Always: the one work that reads what stood there, inside
//! its transaction.

use std::time::Duration;

use carillon_schemas::{IdempotencyKey, NotificationId, TenantId};
use rusqlite::{Connection, params};

use super::{expiry, time};
use crate::{Claim, ClaimOutcome};

/// How long an idempotency key stays claimed.
const CLAIMED_FOR: Duration = Duration::from_secs(24 * 3600);

const CLAIM: &str = "
    INSERT INTO idempotency (tenant, key, id, body_hash, at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (tenant, key) DO UPDATE SET
        id = excluded.id, body_hash = excluded.body_hash, at = excluded.at, expires_at = excluded.expires_at
    WHERE expires_at <= excluded.at
        OR (id = excluded.id AND body_hash = excluded.body_hash AND at = excluded.at)";

const CLAIMED: &str = "SELECT id, body_hash, at FROM idempotency WHERE tenant = ?1 AND key = ?2";

pub(super) fn claim(
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
