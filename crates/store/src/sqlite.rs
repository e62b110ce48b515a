//! The store on one machine: SQLite.
//!
//! In: batches, from any task. Out: answers after the commit.
//! Always: one thread writes, grouping what waits into one transaction; readers never wait for it.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use carillon_chassis::{clock::Clock, metrics::Metrics};
use carillon_schemas::{IdempotencyKey, NotificationId, Stream, TenantId, cursor::Cursor, status::Status};

use crate::{
    Claim, ClaimOutcome, DeadLetter, DeliveriesQuery, DeliveriesResult, Dispatched, Known, NewNotification,
    NotificationStore, RecentRow, StoreError,
};

pub(crate) mod schema;

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// When it is on the disk: one fsync per group of writes.
    Full,
    /// When the operating system has it; the disk follows within this time. A killed process loses nothing,
    /// a machine that loses power loses up to this much.
    Interval(Duration),
}

/// How a SQLite store behaves.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// When a write counts as done.
    pub fsync: Fsync,
    /// Read connections, each at work on one read at a time; further reads wait.
    pub readers: usize,
    /// Most writes that wait for the writer; one more is `Unavailable` at once.
    pub queue: usize,
    /// Most bytes of payload in waiting writes; more is `Unavailable` at once.
    pub queue_bytes: usize,
    /// How long notifications and their time lines are kept.
    pub retention: Duration,
    /// How long a call may take before it is `Unavailable`.
    pub deadline: Duration,
    /// Most bytes that the file may grow to, without its log; `None` leaves it to the disk.
    pub max_bytes: Option<u64>,
    /// How often expired rows are looked for, when there is nothing to write.
    pub sweep_every: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            fsync: Fsync::Full,
            readers: 4,
            queue: 4_096,
            queue_bytes: 64 << 20,
            retention: Duration::from_secs(7 * 24 * 3600),
            deadline: Duration::from_secs(10),
            max_bytes: None,
            sweep_every: Duration::from_secs(60),
        }
    }
}

/// A store in one SQLite file.
pub struct SqliteStore {}

impl SqliteStore {
    /// Opens a file, creating or migrating it. Blocks for some milliseconds.
    ///
    /// # Errors
    /// `Corrupt` for a damaged or foreign file, `Full` without room, else `Unavailable`.
    pub fn open(
        path: impl AsRef<Path>,
        options: SqliteOptions,
        clock: Clock,
        metrics: &Metrics,
    ) -> Result<Self, StoreError> {
        let _ = (path.as_ref(), options, clock, metrics);
        unimplemented!()
    }
}

#[async_trait]
impl NotificationStore for SqliteStore {
    async fn persist(&self, _: &[NewNotification]) -> Result<(), StoreError> {
        unimplemented!()
    }
    async fn dispatched(&self, _: &[Dispatched]) -> Result<(), StoreError> {
        unimplemented!()
    }
    async fn dead(&self, _: &[DeadLetter]) -> Result<(), StoreError> {
        unimplemented!()
    }
    async fn notification(&self, _: &TenantId, _: NotificationId) -> Result<Option<Known>, StoreError> {
        unimplemented!()
    }
    async fn statuses(&self, _: &TenantId, _: &[NotificationId]) -> Result<Vec<Option<Status>>, StoreError> {
        unimplemented!()
    }
    async fn deliveries(&self, _: &TenantId, _: &DeliveriesQuery) -> Result<DeliveriesResult, StoreError> {
        unimplemented!()
    }
    async fn recent(
        &self,
        _: &TenantId,
        _: &Stream,
        _: u32,
        _: Option<Cursor>,
    ) -> Result<Vec<RecentRow>, StoreError> {
        unimplemented!()
    }
    async fn claim(&self, _: &TenantId, _: &IdempotencyKey, _: &Claim) -> Result<ClaimOutcome, StoreError> {
        unimplemented!()
    }
    async fn ping(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
    async fn close(&self) {}
}
