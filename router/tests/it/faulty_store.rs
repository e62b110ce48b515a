//! A store that fails on purpose.
//!
//! In: a real store and a fault. Out: its answers, or the fault's. Always: without a fault it is the real one.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use carillon_schemas::{
    CollapseKey, IdempotencyKey, NotificationId, Stream, TenantId,
    audit::AuditEntry,
    cursor::Cursor,
    dead_letter::{DeadLetterId, DeadLetterRow, Job},
};
use carillon_store::{
    AuditQuery, AuditResult, Claim, ClaimOutcome, DeadLetter, DeadLetterMark, DeadLettersQuery,
    DeadLettersResult, DeliveriesQuery, DeliveriesResult, Dispatched, Due, Fact, Head, Known,
    NewNotification, NotificationStore, RecentRow, Scheduled, SqliteStore, StoreError, StoredQuery,
    StoredResult,
};
use parking_lot::Mutex;
use uuid::Uuid;

pub(crate) struct FaultyStore {
    real: SqliteStore,
    away: AtomicBool,
    refused: Mutex<HashSet<NotificationId>>,
    pause_ms: AtomicU64,
    slow: Mutex<HashMap<NotificationId, usize>>,
    pub(crate) failed: AtomicUsize,
}

impl FaultyStore {
    pub(crate) fn new(real: SqliteStore) -> Self {
        Self {
            real,
            away: AtomicBool::new(false),
            refused: Mutex::default(),
            pause_ms: AtomicU64::new(0),
            slow: Mutex::default(),
            failed: AtomicUsize::new(0),
        }
    }

    /// From now on it is away, or back.
    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// From now on it refuses every batch with this notification.
    pub(crate) fn refuse(&self, id: NotificationId) {
        self.refused.lock().insert(id);
    }

    /// From now on every batch with this notification is not written in time, so many times.
    pub(crate) fn slow(&self, id: NotificationId, times: usize) {
        self.slow.lock().insert(id, times);
    }

    /// From now on each batch takes so much longer to be written.
    pub(crate) fn set_pause(&self, pause: Duration) {
        self.pause_ms.store(pause.as_millis() as u64, Ordering::SeqCst);
    }

    fn in_time(&self, batch: &[NewNotification]) -> Result<(), StoreError> {
        let mut slow = self.slow.lock();
        for new in batch {
            if let Some(times) = slow
                .get_mut(&new.envelope.notification_id)
                .filter(|times| **times > 0)
            {
                // Only what is tried alone counts: bisecting is not a matter of this test.
                *times -= usize::from(batch.len() == 1);
                return Err(StoreError::Unavailable("slow on purpose".to_owned()));
            }
        }
        Ok(())
    }

    fn here(&self) -> Result<(), StoreError> {
        if !self.away.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.failed.fetch_add(1, Ordering::SeqCst);
        Err(StoreError::Unavailable("on purpose".to_owned()))
    }
}

#[async_trait]
impl NotificationStore for FaultyStore {
    async fn persist(&self, batch: &[NewNotification]) -> Result<(), StoreError> {
        self.here()?;
        let refused = |new: &NewNotification| self.refused.lock().contains(&new.envelope.notification_id);
        if batch.iter().any(refused) {
            return Err(StoreError::Refused("on purpose".to_owned()));
        }
        self.in_time(batch)?;
        let pause = self.pause_ms.load(Ordering::SeqCst);
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.real.persist(batch).await
    }
    async fn dispatched(&self, batch: &[Dispatched]) -> Result<(), StoreError> {
        self.here()?;
        self.real.dispatched(batch).await
    }
    async fn dead(&self, batch: &[DeadLetter]) -> Result<(), StoreError> {
        self.here()?;
        self.real.dead(batch).await
    }
    async fn notification(&self, tenant: &TenantId, id: NotificationId) -> Result<Option<Known>, StoreError> {
        self.real.notification(tenant, id).await
    }
    async fn note(&self, batch: &[Fact]) -> Result<(), StoreError> {
        self.here()?;
        self.real.note(batch).await
    }
    async fn heads(
        &self,
        tenant: &TenantId,
        ids: &[NotificationId],
    ) -> Result<Vec<Option<Head>>, StoreError> {
        self.real.heads(tenant, ids).await
    }
    async fn latest(
        &self,
        tenant: &TenantId,
        keys: &[(Stream, CollapseKey)],
    ) -> Result<Vec<Option<NotificationId>>, StoreError> {
        self.here()?;
        self.real.latest(tenant, keys).await
    }
    async fn schedule(&self, batch: &[Scheduled]) -> Result<(), StoreError> {
        self.here()?;
        self.real.schedule(batch).await
    }
    async fn unschedule(&self, batch: &[Scheduled]) -> Result<(), StoreError> {
        self.here()?;
        self.real.unschedule(batch).await
    }
    async fn due(&self, partition: i32, now_ms: u64, limit: u32) -> Result<Vec<Due>, StoreError> {
        self.here()?;
        self.real.due(partition, now_ms, limit).await
    }
    async fn dead_letters(
        &self,
        tenant: &TenantId,
        query: &DeadLettersQuery,
    ) -> Result<DeadLettersResult, StoreError> {
        self.here()?;
        self.real.dead_letters(tenant, query).await
    }
    async fn dead_letter(
        &self,
        tenant: &TenantId,
        id: DeadLetterId,
    ) -> Result<Option<DeadLetterRow>, StoreError> {
        self.here()?;
        self.real.dead_letter(tenant, id).await
    }
    async fn mark_dead_letters(&self, tenant: &TenantId, marks: &[DeadLetterMark]) -> Result<(), StoreError> {
        self.here()?;
        self.real.mark_dead_letters(tenant, marks).await
    }
    async fn begin_job(&self, job: &Job) -> Result<Job, StoreError> {
        self.here()?;
        self.real.begin_job(job).await
    }
    async fn save_job(&self, job: &Job) -> Result<(), StoreError> {
        self.here()?;
        self.real.save_job(job).await
    }
    async fn job(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Job>, StoreError> {
        self.here()?;
        self.real.job(tenant, id).await
    }
    async fn audit(&self, batch: &[AuditEntry]) -> Result<(), StoreError> {
        self.here()?;
        self.real.audit(batch).await
    }
    async fn audit_trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<AuditResult, StoreError> {
        self.here()?;
        self.real.audit_trail(tenant, query).await
    }
    async fn stored(&self, tenant: &TenantId, query: &StoredQuery) -> Result<StoredResult, StoreError> {
        self.here()?;
        self.real.stored(tenant, query).await
    }
    async fn deliveries(
        &self,
        tenant: &TenantId,
        query: &DeliveriesQuery,
    ) -> Result<DeliveriesResult, StoreError> {
        self.real.deliveries(tenant, query).await
    }
    async fn recent(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        n: u32,
        before: Option<Cursor>,
    ) -> Result<Vec<RecentRow>, StoreError> {
        self.real.recent(tenant, stream, n, before).await
    }
    async fn claim(
        &self,
        tenant: &TenantId,
        key: &IdempotencyKey,
        claim: &Claim,
    ) -> Result<ClaimOutcome, StoreError> {
        self.real.claim(tenant, key, claim).await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.here()?;
        self.real.ping().await
    }
    async fn close(&self) {
        self.real.close().await;
    }
}
