//! The store of a cluster: Apache Cassandra or ScyllaDB.
//!
//! In: batches, from any task. Out: answers when a quorum of the replicas has it.
//! Always: no write reads before it writes, claims and new jobs excepted; nothing waits longer than the store's deadline.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_chassis::{clock::Clock, metrics::Metrics};
use carillon_schemas::TenantId;
use parking_lot::RwLock;
use tokio::sync::Semaphore;

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
    StoreConfig, StoreError,
    calls::{Call, Calls},
    config::{Checked, Migrated},
};

mod address;
mod answers;
mod claim;
mod cluster;
mod connect;
mod definition;
mod deliveries;
#[cfg(feature = "tls")]
mod encryption;
mod failure;
mod latest;
mod logs;
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
