//! Writes: facts into rows.
//!
//! In: a piece of work inside an open transaction. Out: rows, and a claim's or a job's outcome.
//! Always: every statement may be repeated and reordered (the highest stamp, the earliest time and the first
//! payload stay), and none of them reads before it writes, claims and new jobs excepted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use carillon_schemas::{
    ChannelName, CollapseKey, CorrelationId, IdempotencyKey, NotificationId, Stream, TenantId, UserId,
    audit::AuditEntry, dead_letter::Job,
};
use rusqlite::{Connection, Error};

use crate::{
    Claim, ClaimOutcome, DeadLetter, DeadLetterMark, Dispatched, Fact, NewNotification, Scheduled, kept,
};

mod audit;
mod claims;
mod facts;
mod jobs;
mod letters;
mod schedule;

/// What a notification leaves in the store, without its decoded text.
pub(super) struct Payload {
    tenant: TenantId,
    id: NotificationId,
    channel: ChannelName,
    user: Option<UserId>,
    correlation: CorrelationId,
    collapse: Option<(Stream, CollapseKey)>,
    accepted_at: u64,
    counts_from: u64,
    bytes: Bytes,
    attempt: u8,
    redrive: u8,
    at_ms: u64,
    node: Arc<str>,
}

impl From<&NewNotification> for Payload {
    fn from(new: &NewNotification) -> Self {
        let envelope = &new.envelope;
        let collapse = envelope.collapse_key.clone();
        Self {
            tenant: envelope.tenant_id.clone(),
            id: envelope.notification_id,
            channel: envelope.channel.clone(),
            user: envelope.user_id.clone(),
            correlation: envelope.correlation_id.clone(),
            collapse: collapse.map(|key| (new.stream.clone(), key)),
            accepted_at: kept::accepted_at(new),
            counts_from: kept::counts_from(new),
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
    Note(Vec<Fact>),
    Dead(Vec<DeadLetter>),
    Mark(TenantId, Vec<DeadLetterMark>),
    Schedule(Vec<Scheduled>),
    Unschedule(Vec<Scheduled>),
    BeginJob(Box<Job>),
    SaveJob(Box<Job>),
    Audit(Vec<AuditEntry>),
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
    Job(Box<Job>),
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

    /// Sorted by key: neighbours share pages.
    pub(super) fn note(batch: &[Fact]) -> Self {
        let mut batch = batch.to_vec();
        batch.sort_by(|a, b| (&a.tenant, &a.id).cmp(&(&b.tenant, &b.id)));
        Self::Note(batch)
    }

    /// Rows of the caller's batch.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Persist(batch) => batch.len(),
            Self::Dispatched(batch) => batch.len(),
            Self::Note(batch) => batch.len(),
            Self::Dead(batch) => batch.len(),
            Self::Mark(_, batch) => batch.len(),
            Self::Schedule(batch) | Self::Unschedule(batch) => batch.len(),
            Self::Audit(batch) => batch.len(),
            _ => 1,
        }
    }

    /// About how many bytes it holds while it waits.
    pub(super) fn bytes(&self) -> usize {
        const FIXED: usize = 256;
        let payload = match self {
            Self::Persist(batch) => batch.iter().map(|new| new.bytes.len()).sum(),
            Self::Dead(batch) => batch.iter().map(|dead| dead.row.error_message.len()).sum(),
            Self::Audit(batch) => batch.iter().map(audit::text_bytes).sum(),
            _ => 0,
        };
        payload + FIXED * self.rows()
    }

    /// Does it on a connection inside a transaction.
    pub(super) fn apply(&self, connection: &Connection, retention: Duration) -> rusqlite::Result<Outcome> {
        match self {
            Self::Persist(batch) => facts::persist(connection, batch, retention)?,
            Self::Dispatched(batch) => facts::dispatched(connection, batch, retention)?,
            Self::Note(batch) => facts::note(connection, batch, retention)?,
            Self::Dead(batch) => letters::dead(connection, batch, retention)?,
            Self::Mark(tenant, marks) => letters::mark(connection, tenant, marks)?,
            Self::Schedule(batch) => schedule::put(connection, batch, retention)?,
            Self::Unschedule(batch) => schedule::take_out(connection, batch)?,
            Self::BeginJob(new) => {
                let job = jobs::begin(connection, new, retention)?;
                return Ok(Outcome::Job(Box::new(job)));
            }
            Self::SaveJob(job) => jobs::save(connection, job, retention)?,
            Self::Audit(batch) => audit::keep(connection, batch, retention)?,
            Self::Claim(tenant, key, new) => {
                return claims::claim(connection, tenant, key, new).map(Outcome::Claimed);
            }
            #[cfg(test)]
            Self::Panic => panic!("asked for by a test"),
            #[cfg(test)]
            Self::Refused => {
                return Err(Error::ToSqlConversionFailure("asked for by a test".into()));
            }
        }
        Ok(Outcome::Done)
    }
}

/// Unix milliseconds as SQLite keeps them; what is beyond its range counts as the end of time.
pub(super) fn time(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn expiry(at_ms: u64, kept_for: Duration) -> i64 {
    let kept_for = u64::try_from(kept_for.as_millis()).unwrap_or(u64::MAX);
    time(at_ms.saturating_add(kept_for))
}

/// What is kept as it is shown.
fn json(shown: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(shown).map_err(|error| Error::ToSqlConversionFailure(Box::new(error)))
}
