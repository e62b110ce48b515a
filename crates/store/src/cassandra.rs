//! The store of a cluster: Apache Cassandra or ScyllaDB.
//!
//! In: batches, from any task. Out: answers when a quorum of the replicas has it.
//! Always: no write reads before it writes, claims excepted; nothing waits longer than the store's deadline.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use carillon_chassis::{clock::Clock, metrics::Metrics};
use carillon_schemas::{IdempotencyKey, NotificationId, Stream, TenantId, cursor::Cursor, status::Status};
use parking_lot::RwLock;
use tokio::sync::Semaphore;
use tracing::warn;

use self::{
    cluster::{Cluster, within},
    marks::Marks,
    meters::Meters,
    outage::Outage,
    partition::Shown,
    read::Reader,
    statements::Statements,
    write::Writer,
};
use crate::{
    Claim, ClaimOutcome, DeadLetter, DeliveriesQuery, DeliveriesResult, Dispatched, Known, NewNotification,
    NotificationStore, RecentRow, StoreConfig, StoreError,
    calls::{Call, Calls},
    config::{Checked, Migrated},
};

mod address;
mod claim;
mod cluster;
mod connect;
mod definition;
mod deliveries;
#[cfg(feature = "tls")]
mod encryption;
mod failure;
mod marks;
mod meters;
mod options;
mod outage;
mod partition;
mod read;
mod schema;
mod statements;
mod times;
mod write;

pub(crate) use address::Address;
pub use options::{CassandraOptions, CassandraTls};

/// A store in a keyspace of a cluster.
pub struct CassandraStore {
    /// `None` after closing.
    cluster: RwLock<Option<Arc<Cluster>>>,
    marks: Marks,
    outage: Outage,
    calls: Calls,
    room: Arc<Semaphore>,
    in_flight: u32,
    retention: Duration,
    deadline: Duration,
    clock: Clock,
}

impl CassandraStore {
    /// Opens a keyspace whose schema is this version's.
    pub(crate) async fn open(
        address: &Address,
        config: &StoreConfig,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Result<Self, StoreError> {
        let deadline = config.deadline;
        let prepared = within(deadline, async {
            let session = connect::connect(address, &config.cassandra, deadline).await?;
            schema::check(&session, &address.keyspace).await?;
            let statements = Statements::prepare(&session, &address.keyspace).await?;
            Ok((session, statements))
        });
        let (session, statements) = prepared.await?;
        let meters = Meters::new(metrics);
        let in_flight = config.cassandra.in_flight.clamp(1, 16_384);
        let room = Arc::new(Semaphore::new(in_flight));
        let cluster = Cluster {
            session,
            statements,
            meters,
            room: Arc::clone(&room),
            lanes: in_flight.div_ceil(2),
        };
        Ok(Self {
            cluster: RwLock::new(Some(Arc::new(cluster))),
            marks: Marks::default(),
            outage: Outage::default(),
            calls: Calls::new(metrics),
            room,
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            retention: config.retention,
            deadline,
            clock: clock.clone(),
        })
    }

    async fn write<F>(&self, work: impl FnOnce(Arc<Cluster>) -> F) -> Result<(), StoreError>
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        self.call(Call::Write, work).await
    }

    async fn call<T, F>(&self, call: Call, work: impl FnOnce(Arc<Cluster>) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let began = Instant::now();
        let cluster = self.cluster.read().clone();
        let answer = match cluster {
            Some(cluster) => within(self.deadline, work(cluster)).await,
            None => Err(StoreError::Closed),
        };
        self.calls.ended(call, began, &answer);
        self.outage.saw(&answer);
        answer
    }

    fn shown(&self) -> Shown {
        Shown {
            now_ms: self.clock.unix_ms(),
            retention_ms: u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn writer<'a>(&'a self, cluster: &'a Cluster) -> Writer<'a> {
        Writer {
            cluster,
            marks: &self.marks,
            retention: self.retention,
            now_ms: self.clock.unix_ms(),
        }
    }

    fn reader<'a>(&self, cluster: &'a Cluster, tenant: &'a TenantId) -> Reader<'a> {
        Reader {
            cluster,
            tenant,
            shown: self.shown(),
        }
    }
}

/// Brings a keyspace up to date, creating it where there is none.
pub(crate) async fn migrate(address: &Address, config: &StoreConfig) -> Result<Migrated, StoreError> {
    let session = connect::connect(address, &config.cassandra, config.deadline).await?;
    let migrated = schema::migrate(&session, &address.keyspace, &config.cassandra);
    within(schema::MAKING * 4, migrated).await
}

/// Looks whether a keyspace is this version's, and whether its tables can be read.
pub(crate) async fn check(address: &Address, config: &StoreConfig) -> Result<Checked, StoreError> {
    within(config.deadline, async {
        let session = connect::connect(address, &config.cassandra, config.deadline).await?;
        let checked = schema::check(&session, &address.keyspace).await?;
        schema::read_each(&session, &address.keyspace).await?;
        Ok(checked)
    })
    .await
}

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

    async fn statuses(
        &self,
        tenant: &TenantId,
        ids: &[NotificationId],
    ) -> Result<Vec<Option<Status>>, StoreError> {
        self.call(Call::Read, |cluster| async move {
            self.reader(&cluster, tenant).statuses(ids).await
        })
        .await
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        query: &DeliveriesQuery,
    ) -> Result<DeliveriesResult, StoreError> {
        self.call(Call::Read, |cluster| async move {
            self.reader(&cluster, tenant).deliveries(query).await
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
