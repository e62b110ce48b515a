//! A store that fails on purpose.
//!
//! In: a real store and a fault. Out: its answers, or the fault's. Always: without a fault it is the real one.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use carillon_schemas::{IdempotencyKey, NotificationId, Stream, TenantId, cursor::Cursor, status::Status};
use carillon_store::{
    Claim, ClaimOutcome, DeadLetter, DeliveriesQuery, DeliveriesResult, Dispatched, Known, NewNotification,
    NotificationStore, RecentRow, SqliteStore, StoreError,
};
use parking_lot::Mutex;

pub(crate) struct FaultyStore {
    real: SqliteStore,
    away: AtomicBool,
    refused: Mutex<HashSet<NotificationId>>,
    pub(crate) failed: AtomicUsize,
}

impl FaultyStore {
    pub(crate) fn new(real: SqliteStore) -> Self {
        Self {
            real,
            away: AtomicBool::new(false),
            refused: Mutex::default(),
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
    async fn statuses(
        &self,
        tenant: &TenantId,
        ids: &[NotificationId],
    ) -> Result<Vec<Option<Status>>, StoreError> {
        self.real.statuses(tenant, ids).await
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
