//! Dead letters, jobs and audit trails into rows.
//!
//! In: batches, a job. Out: rows, and the job that stands. Always: a mark is a cell of its own, which the row does
//! not touch when it is told again; jobs begin by a lightweight transaction, and nothing else here does.

use carillon_schemas::{TenantId, audit::AuditEntry, dead_letter::Job, status::Status};
use scylla::value::{CqlValue, Row};

use super::{Writer, fact_row, stamp};
use crate::{
    DeadLetter, DeadLetterMark, StoreError,
    cassandra::{
        failure::{corrupt, not_json},
        logs::{Log, mark_bytes},
        partition::Shown,
        read::Reader,
        times::{hour, latest_wins, life, time},
    },
    kept,
};

impl Writer<'_> {
    /// Rows of the index, and the ends of the notifications that they name.
    pub(in crate::cassandra) async fn dead(&self, batch: &[DeadLetter]) -> Result<(), StoreError> {
        let kept_for = life(self.retention);
        let facts = batch.iter().filter_map(|dead| {
            let row = &dead.row;
            let stamp = stamp(row.redrive_count, row.attempt, Status::Dead);
            let id = row.notification_id.as_ref()?;
            Some(fact_row(&dead.tenant, id, stamp, row.at, &dead.node, kept_for))
        });
        let hours = batch.iter().map(|dead| (dead.tenant.as_str(), hour(dead.row.at)));
        let letters = batch.iter().map(|dead| self.letter(dead));
        futures_util::future::try_join3(
            self.facts(facts),
            self.mark_log(Log::DeadLetters, hours),
            self.cluster.all(letters),
        )
        .await
        .map(|_| ())
    }

    async fn letter(&self, dead: &DeadLetter) -> Result<(), StoreError> {
        let (tenant, row) = (dead.tenant.as_str(), &dead.row);
        let (written, life) = (latest_wins(row.at), life(Log::DeadLetters.kept(self.retention)));
        let (partition, position) = (row.id.partition, row.id.offset);
        let text = serde_json::to_string(row).map_err(|error| not_json(&error))?;
        let statements = &self.cluster.statements;
        let values = (
            tenant,
            hour(row.at),
            time(row.at),
            partition,
            position,
            text,
            written,
            life,
        );
        let place = (tenant, partition, position, time(row.at), written, life);
        futures_util::future::try_join(
            self.cluster.execute(&statements.letter, values),
            self.cluster.execute(&statements.letter_place, place),
        )
        .await
        .map(|_| ())
    }

    /// What was done with letters.
    pub(in crate::cassandra) async fn mark_letters(
        &self,
        tenant: &TenantId,
        marks: &[DeadLetterMark],
    ) -> Result<(), StoreError> {
        let life = life(Log::DeadLetters.kept(self.retention));
        let statement = &self.cluster.statements.mark_letter;
        let each = marks.iter().map(|mark| async move {
            let values = (
                kept::mark_version(mark),
                life,
                mark_bytes(mark),
                tenant.as_str(),
                hour(mark.at_ms),
                time(mark.at_ms),
                mark.id.partition,
                mark.id.offset,
            );
            self.cluster.execute(statement, values).await.map(|_| ())
        });
        self.cluster.all(each).await
    }

    /// Entries of audit trails.
    pub(in crate::cassandra) async fn audit(&self, batch: &[AuditEntry]) -> Result<(), StoreError> {
        let life = life(self.retention);
        let statement = &self.cluster.statements.entry;
        let hours = batch
            .iter()
            .map(|entry| (entry.tenant_id.as_str(), hour(entry.at)));
        let each = batch.iter().map(|entry| async move {
            let text = serde_json::to_string(entry).map_err(|error| not_json(&error))?;
            let values = (
                entry.tenant_id.as_str(),
                hour(entry.at),
                time(entry.at),
                &entry.id.as_bytes()[..],
                entry.kind.as_str(),
                text,
                latest_wins(entry.at),
                life,
            );
            self.cluster.execute(statement, values).await.map(|_| ())
        });
        futures_util::future::try_join(self.mark_log(Log::Audit, hours), self.cluster.all(each))
            .await
            .map(|_| ())
    }

    /// A new job, or the one that stands.
    pub(in crate::cassandra) async fn begin_job(&self, new: &Job, shown: Shown) -> Result<Job, StoreError> {
        let text = serde_json::to_string(new).map_err(|error| not_json(&error))?;
        let values = (
            new.tenant_id.as_str(),
            &new.id.as_bytes()[..],
            text,
            life(self.retention),
        );
        let answer = self
            .cluster
            .execute(&self.cluster.statements.begin_job, values)
            .await?;
        let answer = answer
            .into_rows_result()
            .map_err(|error| corrupt("jobs", &error))?;
        let applied = answer.column_specs().get_by_name("[applied]").map(|(at, _)| at);
        let row: Row = answer.single_row().map_err(|error| corrupt("jobs", &error))?;
        let applied = applied.and_then(|at| row.columns.into_iter().nth(at).flatten());
        if matches!(applied, Some(CqlValue::Boolean(true))) {
            return Ok(new.clone());
        }
        let reader = Reader {
            cluster: self.cluster,
            tenant: &new.tenant_id,
            shown,
        };
        if let Some(job) = reader.job(new.id).await? {
            return Ok(job);
        }
        // Its time is over by our clock, and not yet by the cluster's.
        self.save_job(new).await.map(|()| new.clone())
    }

    /// How a job stands.
    pub(in crate::cassandra) async fn save_job(&self, job: &Job) -> Result<(), StoreError> {
        let text = serde_json::to_string(job).map_err(|error| not_json(&error))?;
        let values = (
            kept::job_version(job),
            life(self.retention),
            text,
            job.tenant_id.as_str(),
            &job.id.as_bytes()[..],
        );
        let statement = &self.cluster.statements.save_job;
        self.cluster.execute(statement, values).await.map(|_| ())
    }
}
