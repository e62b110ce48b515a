//! The store's promises, kept by Cassandra.
//!
//! In: calls. Out: answers, each within the store's deadline. Always: a batch of nothing does nothing.

use async_trait::async_trait;
use carillon_schemas::{
    CollapseKey, IdempotencyKey, NotificationId, Stream, TenantId,
    audit::AuditEntry,
    cursor::Cursor,
    dead_letter::{DeadLetterId, DeadLetterRow, Job},
};
use tracing::warn;
use uuid::Uuid;

use super::{CassandraStore, claim, read};
use crate::{
    AuditQuery, AuditResult, Claim, ClaimOutcome, DeadLetter, DeadLetterMark, DeadLettersQuery,
    DeadLettersResult, DeliveriesQuery, DeliveriesResult, Dispatched, Due, Fact, Head, Known,
    NewNotification, NotificationStore, RecentRow, Scheduled, StoreError, StoredQuery, StoredResult,
    calls::Call,
};

#[async_trait]
impl NotificationStore for CassandraStore {
    async fn persist(&self, batch: &[NewNotification]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write(|cluster| async move { self.writer(&cluster).persist(batch).await })
            .await
    }

    async fn dispatched(&self, batch: &[Dispatched]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write(|cluster| async move { self.writer(&cluster).dispatched(batch).await })
            .await
    }

    async fn note(&self, batch: &[Fact]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write(|cluster| async move { self.writer(&cluster).note(batch).await })
            .await
    }

    async fn dead(&self, batch: &[DeadLetter]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write(|cluster| async move { self.writer(&cluster).dead(batch).await })
            .await
    }

    async fn notification(&self, tenant: &TenantId, id: NotificationId) -> Result<Option<Known>, StoreError> {
        self.call(Call::Read, |cluster| async move {
            self.reader(&cluster, tenant).notification(id).await
        })
        .await
    }

    async fn heads(
        &self,
        tenant: &TenantId,
        ids: &[NotificationId],
    ) -> Result<Vec<Option<Head>>, StoreError> {
        self.call(Call::Read, |cluster| async move {
            self.reader(&cluster, tenant).heads(ids).await
        })
        .await
    }

    async fn latest(
        &self,
        tenant: &TenantId,
        keys: &[(Stream, CollapseKey)],
    ) -> Result<Vec<Option<NotificationId>>, StoreError> {
        self.call(Call::Read, |cluster| async move {
            self.reader(&cluster, tenant).latest(keys).await
        })
        .await
    }

    async fn schedule(&self, batch: &[Scheduled]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write(|cluster| async move { self.writer(&cluster).schedule(batch).await })
            .await
    }

    async fn unschedule(&self, batch: &[Scheduled]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write(|cluster| async move { self.writer(&cluster).unschedule(batch).await })
            .await
    }

    async fn due(&self, partition: i32, now_ms: u64, limit: u32) -> Result<Vec<Due>, StoreError> {
        self.call(Call::Read, |cluster| async move {
            read::schedule::due(&cluster, self.shown(), partition, now_ms, limit).await
        })
        .await
    }

    async fn dead_letters(
        &self,
        tenant: &TenantId,
        query: &DeadLettersQuery,
    ) -> Result<DeadLettersResult, StoreError> {
        self.call(Call::Read, |cluster| async move {
            self.reader(&cluster, tenant).dead_letters(query).await
        })
        .await
    }

    async fn dead_letter(
        &self,
        tenant: &TenantId,
        id: DeadLetterId,
    ) -> Result<Option<DeadLetterRow>, StoreError> {
        self.call(Call::Read, |cluster| async move {
            self.reader(&cluster, tenant).dead_letter(id).await
        })
        .await
    }

    async fn mark_dead_letters(&self, tenant: &TenantId, marks: &[DeadLetterMark]) -> Result<(), StoreError> {
        if marks.is_empty() {
            return Ok(());
        }
        self.write(|cluster| async move { self.writer(&cluster).mark_letters(tenant, marks).await })
            .await
    }

    async fn begin_job(&self, job: &Job) -> Result<Job, StoreError> {
        self.call(Call::Write, |cluster| async move {
            self.writer(&cluster).begin_job(job, self.shown()).await
        })
        .await
    }

    async fn save_job(&self, job: &Job) -> Result<(), StoreError> {
        self.write(|cluster| async move { self.writer(&cluster).save_job(job).await })
            .await
    }

    async fn job(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Job>, StoreError> {
        self.call(Call::Read, |cluster| async move {
            self.reader(&cluster, tenant).job(id).await
        })
        .await
    }

    async fn audit(&self, batch: &[AuditEntry]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write(|cluster| async move { self.writer(&cluster).audit(batch).await })
            .await
    }

    async fn audit_trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<AuditResult, StoreError> {
        self.call(Call::Read, |cluster| async move {
            self.reader(&cluster, tenant).audit_trail(query).await
        })
        .await
    }

    async fn stored(&self, tenant: &TenantId, query: &StoredQuery) -> Result<StoredResult, StoreError> {
        self.call(Call::Read, |cluster| {
            Box::pin(async move { self.reader(&cluster, tenant).stored(query).await })
        })
        .await
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        query: &DeliveriesQuery,
    ) -> Result<DeliveriesResult, StoreError> {
        self.call(Call::Read, |cluster| {
            Box::pin(async move { self.reader(&cluster, tenant).deliveries(query).await })
        })
        .await
    }

    async fn recent(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        n: u32,
        before: Option<Cursor>,
    ) -> Result<Vec<RecentRow>, StoreError> {
        self.call(Call::Read, |cluster| async move {
            self.reader(&cluster, tenant).recent(stream, n, before).await
        })
        .await
    }

    async fn claim(
        &self,
        tenant: &TenantId,
        key: &IdempotencyKey,
        claim: &Claim,
    ) -> Result<ClaimOutcome, StoreError> {
        self.call(Call::Write, |cluster| async move {
            claim::claim(&cluster, tenant, key, claim).await
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.call(Call::Read, |cluster| async move {
            let ping = &cluster.statements.ping;
            cluster.execute(ping, ()).await.map(|_| ())
        })
        .await
    }

    async fn close(&self) {
        let Some(cluster) = self.cluster.write().take() else {
            return;
        };
        // Whoever is on the way ends; who waits for room gets it.
        let ended = self.room.acquire_many(self.in_flight);
        if tokio::time::timeout(self.deadline, ended).await.is_err() {
            warn!("statements did not end within the store's deadline");
        }
        self.room.close();
        drop(cluster);
    }
}
