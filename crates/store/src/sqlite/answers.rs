//! The store's promises, kept by SQLite.
//!
//! In: calls. Out: answers. Always: a write goes to the writer, a read to a reader; a batch of nothing does
//! nothing.

use async_trait::async_trait;
use carillon_schemas::{
    CollapseKey, IdempotencyKey, NotificationId, Stream, TenantId,
    audit::AuditEntry,
    cursor::Cursor,
    dead_letter::{DeadLetterId, DeadLetterRow, Job},
};
use tracing::warn;
use uuid::Uuid;

use super::{
    SqliteStore,
    apply::{Outcome, Work},
    read,
};
use crate::{
    AuditQuery, AuditResult, Claim, ClaimOutcome, DeadLetter, DeadLetterMark, DeadLettersQuery,
    DeadLettersResult, DeliveriesQuery, DeliveriesResult, Dispatched, Due, Fact, Head, Known,
    NewNotification, NotificationStore, RecentRow, Scheduled, StoreError, StoredQuery, StoredResult,
};

impl SqliteStore {
    async fn told<T>(&self, batch: &[T], work: impl FnOnce(&[T]) -> Work) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write(work(batch)).await.map(|_| ())
    }
}

fn another(what: &str) -> StoreError {
    StoreError::Unavailable(format!("{what} got another write's answer"))
}

#[async_trait]
impl NotificationStore for SqliteStore {
    async fn persist(&self, batch: &[NewNotification]) -> Result<(), StoreError> {
        self.told(batch, Work::persist).await
    }

    async fn dispatched(&self, batch: &[Dispatched]) -> Result<(), StoreError> {
        self.told(batch, Work::dispatched).await
    }

    async fn note(&self, batch: &[Fact]) -> Result<(), StoreError> {
        self.told(batch, Work::note).await
    }

    async fn dead(&self, batch: &[DeadLetter]) -> Result<(), StoreError> {
        self.told(batch, |batch| Work::Dead(batch.to_vec())).await
    }

    async fn notification(&self, tenant: &TenantId, id: NotificationId) -> Result<Option<Known>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection, now| read::notification(connection, &tenant, id, now))
            .await
    }

    async fn heads(
        &self,
        tenant: &TenantId,
        ids: &[NotificationId],
    ) -> Result<Vec<Option<Head>>, StoreError> {
        let (tenant, ids) = (tenant.clone(), ids.to_vec());
        self.read(move |connection, now| read::heads(connection, &tenant, &ids, now))
            .await
    }

    async fn latest(
        &self,
        tenant: &TenantId,
        keys: &[(Stream, CollapseKey)],
    ) -> Result<Vec<Option<NotificationId>>, StoreError> {
        let (tenant, keys) = (tenant.clone(), keys.to_vec());
        self.read(move |connection, now| read::latest(connection, &tenant, &keys, now))
            .await
    }

    async fn schedule(&self, batch: &[Scheduled]) -> Result<(), StoreError> {
        self.told(batch, |batch| Work::Schedule(batch.to_vec())).await
    }

    async fn unschedule(&self, batch: &[Scheduled]) -> Result<(), StoreError> {
        self.told(batch, |batch| Work::Unschedule(batch.to_vec())).await
    }

    async fn due(&self, partition: i32, now_ms: u64, limit: u32) -> Result<Vec<Due>, StoreError> {
        self.read(move |connection, now| read::due(connection, partition, now_ms, limit, now))
            .await
    }

    async fn dead_letters(
        &self,
        tenant: &TenantId,
        query: &DeadLettersQuery,
    ) -> Result<DeadLettersResult, StoreError> {
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection, now| read::dead_letters(connection, &tenant, &query, now))
            .await
    }

    async fn dead_letter(
        &self,
        tenant: &TenantId,
        id: DeadLetterId,
    ) -> Result<Option<DeadLetterRow>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection, now| read::dead_letter(connection, &tenant, id, now))
            .await
    }

    async fn mark_dead_letters(&self, tenant: &TenantId, marks: &[DeadLetterMark]) -> Result<(), StoreError> {
        self.told(marks, |marks| Work::Mark(tenant.clone(), marks.to_vec()))
            .await
    }

    async fn begin_job(&self, job: &Job) -> Result<Job, StoreError> {
        match self.write(Work::BeginJob(Box::new(job.clone()))).await? {
            Outcome::Job(job) => Ok(*job),
            _ => Err(another("a job")),
        }
    }

    async fn save_job(&self, job: &Job) -> Result<(), StoreError> {
        self.write(Work::SaveJob(Box::new(job.clone()))).await.map(|_| ())
    }

    async fn job(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Job>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection, now| read::job(connection, &tenant, id, now))
            .await
    }

    async fn audit(&self, batch: &[AuditEntry]) -> Result<(), StoreError> {
        self.told(batch, |batch| Work::Audit(batch.to_vec())).await
    }

    async fn audit_trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<AuditResult, StoreError> {
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection, now| read::audit_trail(connection, &tenant, &query, now))
            .await
    }

    async fn stored(&self, tenant: &TenantId, query: &StoredQuery) -> Result<StoredResult, StoreError> {
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection, now| read::stored(connection, &tenant, &query, now))
            .await
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        query: &DeliveriesQuery,
    ) -> Result<DeliveriesResult, StoreError> {
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection, now| read::deliveries(connection, &tenant, &query, now))
            .await
    }

    async fn recent(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        n: u32,
        before: Option<Cursor>,
    ) -> Result<Vec<RecentRow>, StoreError> {
        let (tenant, stream) = (tenant.clone(), stream.clone());
        self.read(move |connection, now| read::recent(connection, &tenant, &stream, n, before, now))
            .await
    }

    async fn claim(
        &self,
        tenant: &TenantId,
        key: &IdempotencyKey,
        claim: &Claim,
    ) -> Result<ClaimOutcome, StoreError> {
        match self
            .write(Work::Claim(tenant.clone(), key.clone(), *claim))
            .await?
        {
            Outcome::Claimed(outcome) => Ok(outcome),
            _ => Err(another("a claim")),
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|connection, _| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())))
            .await
    }

    async fn close(&self) {
        self.readers.close();
        self.queue.write().take();
        let mut ended = self.ended.clone();
        let end = async { while ended.changed().await.is_ok() {} };
        if tokio::time::timeout(self.options.deadline, end).await.is_err() {
            warn!("the store's writer did not end within its deadline");
        }
    }
}
