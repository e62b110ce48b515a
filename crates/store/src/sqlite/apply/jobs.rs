//! Jobs into rows.
//!
//! In: a job that begins, or how one stands. Out: rows, and the job that stands. Always: of two savings the one
//! with the greater version stays.

use std::time::Duration;

use carillon_schemas::dead_letter::Job;
use rusqlite::{Connection, Error, params, types::Type};

use super::{expiry, json, time};
use crate::kept;

/// One whose time is over is not there.
const BEGIN: &str = "
    INSERT INTO jobs (tenant, id, version, expires_at, job) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT DO UPDATE SET
        version = excluded.version, expires_at = excluded.expires_at, job = excluded.job
    WHERE expires_at <= ?6";

const STANDS: &str = "SELECT job FROM jobs WHERE tenant = ?1 AND id = ?2";

pub(super) fn begin(connection: &Connection, new: &Job, retention: Duration) -> rusqlite::Result<Job> {
    let begun = connection.prepare_cached(BEGIN)?.execute(params![
        new.tenant_id.as_str(),
        new.id.as_bytes(),
        kept::job_version(new),
        expiry(new.updated_at, retention),
        json(new)?,
        time(new.created_at),
    ])?;
    if begun == 1 {
        return Ok(new.clone());
    }
    let mut stands = connection.prepare_cached(STANDS)?;
    stands.query_row(params![new.tenant_id.as_str(), new.id.as_bytes()], |row| {
        serde_json::from_str(row.get_ref(0)?.as_str()?)
            .map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
    })
}

const SAVE: &str = "
    INSERT INTO jobs (tenant, id, version, expires_at, job) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT DO UPDATE SET
        version = excluded.version, expires_at = excluded.expires_at, job = excluded.job
    WHERE excluded.version >= version";

pub(super) fn save(connection: &Connection, job: &Job, retention: Duration) -> rusqlite::Result<()> {
    let row = params![
        job.tenant_id.as_str(),
        job.id.as_bytes(),
        kept::job_version(job),
        expiry(job.updated_at, retention),
        json(job)?,
    ];
    connection.prepare_cached(SAVE)?.execute(row).map(|_| ())
}
