//! Claims of idempotency keys: the one lightweight transaction.
//!
//! In: a tenant's key and a claim. Out: whose it is. Always: the table is written by such transactions alone; a
//! claim that is told again, by the driver or by its holder, finds itself.

use std::time::Duration;

use carillon_schemas::{IdempotencyKey, TenantId};
use scylla::{
    response::query_result::{QueryResult, QueryRowsResult},
    value::{CqlValue, Row},
};

use super::{
    cluster::Cluster,
    failure::corrupt,
    read::read_id,
    times::{from_column, time},
};
use crate::{Claim, ClaimOutcome, StoreError};

/// How long a key stays claimed.
const CLAIMED_FOR: Duration = Duration::from_secs(24 * 3600);

/// How often a claim looks again when another one came in between.
const LOOKS: usize = 5;

const TABLE: &str = "idempotency";

pub(super) async fn claim(
    cluster: &Cluster,
    tenant: &TenantId,
    key: &IdempotencyKey,
    new: &Claim,
) -> Result<ClaimOutcome, StoreError> {
    let (tenant, key) = (tenant.as_str(), key.as_str());
    let (id, hash, at) = (&new.id.as_bytes()[..], &new.body_hash[..], time(new.at_ms));
    let life = CLAIMED_FOR.as_secs() as i32;
    for _ in 0..LOOKS {
        let values = (tenant, key, id, hash, at, life);
        let answer = cluster.execute(&cluster.statements.claim, values).await?;
        let Some(holder) = holder(answer)? else {
            return Ok(ClaimOutcome::New);
        };
        if holder == *new {
            return Ok(ClaimOutcome::New);
        }
        let over = holder.at_ms.saturating_add(CLAIMED_FOR.as_millis() as u64) <= new.at_ms;
        if !over {
            return Ok(ClaimOutcome::Existing(holder));
        }
        // Its day is over by our clock, and not yet by the cluster's.
        let values = (
            life,
            id,
            hash,
            at,
            tenant,
            key,
            &holder.id.as_bytes()[..],
            time(holder.at_ms),
        );
        let answer = cluster.execute(&cluster.statements.claim_anew, values).await?;
        if applied(&transaction(answer)?)? {
            return Ok(ClaimOutcome::New);
        }
    }
    Err(StoreError::Unavailable(
        "others claim the same key all the time".to_owned(),
    ))
}

/// Who holds the key; `None` when the transaction was applied. The columns of the answer are the cluster's
/// choice: Cassandra tells of an applied one only that it was, ScyllaDB always tells all.
fn holder(answer: QueryResult) -> Result<Option<Claim>, StoreError> {
    let answer = transaction(answer)?;
    if applied(&answer)? {
        return Ok(None);
    }
    let missing = |name| corrupt(TABLE, &format_args!("it has no {name}"));
    let column = |name: &'static str| column(&answer, name)?.ok_or_else(|| missing(name));
    let (Some(id), Some(hash), Some(at)) = (
        column("notification_id")?.into_blob(),
        column("body_hash")?.into_blob(),
        column("at")?.as_bigint(),
    ) else {
        return Err(corrupt(TABLE, &"its columns are of other types"));
    };
    let body_hash = <[u8; 32]>::try_from(hash).map_err(|_| corrupt(TABLE, &"a hash of another length"))?;
    Ok(Some(Claim {
        id: read_id(id)?,
        body_hash,
        at_ms: from_column(at),
    }))
}

fn transaction(answer: QueryResult) -> Result<QueryRowsResult, StoreError> {
    answer.into_rows_result().map_err(|error| corrupt(TABLE, &error))
}

fn applied(answer: &QueryRowsResult) -> Result<bool, StoreError> {
    match column(answer, "[applied]")? {
        Some(CqlValue::Boolean(applied)) => Ok(applied),
        other => Err(corrupt(TABLE, &format_args!("a transaction answered {other:?}"))),
    }
}

/// A column of the answer's only row.
fn column(answer: &QueryRowsResult, name: &str) -> Result<Option<CqlValue>, StoreError> {
    let Some((at, _)) = answer.column_specs().get_by_name(name) else {
        return Ok(None);
    };
    let row: Row = answer.single_row().map_err(|error| corrupt(TABLE, &error))?;
    Ok(row.columns.into_iter().nth(at).flatten())
}
