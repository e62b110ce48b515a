//! The mock: librdkafka's cluster inside the process, for fault tests.
//!
//! In: faults. Out: a bootstrap address. Always: in memory, gone when dropped. It does not know
//! administration, time lookups or deduplication, loses records silently after 5 MiB or 100,000 batches in
//! a partition, and crashes the process when something is produced to a partition without a leader.

use std::{fmt, time::Duration};

use rdkafka::{
    mocking::{MockCluster, MockCoordinator},
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use crate::BusError;

/// A mock cluster. Brokers are numbered from 1.
pub struct MockKafka(MockCluster<'static, DefaultProducerContext>);

/// Which requests fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Writing records.
    Produce,
    /// Reading records.
    Fetch,
    /// Committing offsets.
    OffsetCommit,
    /// Finding the coordinator of a group.
    FindCoordinator,
}

/// How they fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed without an answer.
    Disconnect,
    /// Too few in-sync replicas, before anything was written.
    NotEnoughReplicas,
    /// The broker is no longer the leader.
    NotLeader,
    /// The broker's disk fails.
    Storage,
    /// The record is larger than the topic allows.
    TooLarge,
    /// No permission for the topic.
    Unauthorized,
    /// The group's coordinator moved.
    NotCoordinator,
    /// The broker lost what it knew of this producer's sequence.
    OutOfSequence,
}

impl Request {
    fn key(self) -> RDKafkaApiKey {
        match self {
            Self::Produce => RDKafkaApiKey::Produce,
            Self::Fetch => RDKafkaApiKey::Fetch,
            Self::OffsetCommit => RDKafkaApiKey::OffsetCommit,
            Self::FindCoordinator => RDKafkaApiKey::FindCoordinator,
        }
    }
}

impl Fault {
    fn code(self) -> RDKafkaRespErr {
        match self {
            Self::Disconnect => RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
            Self::NotEnoughReplicas => RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            Self::NotLeader => RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Self::Storage => RDKafkaRespErr::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            Self::TooLarge => RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            Self::Unauthorized => RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            Self::NotCoordinator => RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            Self::OutOfSequence => RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
        }
    }
}

impl MockKafka {
    /// Starts a cluster.
    pub fn start(brokers: u8) -> Result<Self, BusError> {
        MockCluster::new(i32::from(brokers))
            .map(Self)
            .map_err(|e| BusError::sort(&e))
    }

    /// Its address.
    pub fn bootstrap(&self) -> String {
        self.0.bootstrap_servers()
    }

    /// Makes a topic, replicated to every broker.
    pub fn create_topic(&self, name: &str, partitions: u16, replication: u8) -> Result<(), BusError> {
        sort(
            self.0
                .create_topic(name, i32::from(partitions), i32::from(replication)),
        )
    }

    /// The next requests of a kind fail so, one after the other; then they succeed again.
    pub fn fail_next(&self, request: Request, faults: &[Fault]) {
        let codes: Vec<_> = faults.iter().map(|f| f.code()).collect();
        self.0.request_errors(request.key(), &codes);
    }

    /// Takes a broker down.
    pub fn down(&self, broker: u8) -> Result<(), BusError> {
        sort(self.0.broker_down(i32::from(broker)))
    }

    /// Brings it up again, with what it had.
    pub fn up(&self, broker: u8) -> Result<(), BusError> {
        sort(self.0.broker_up(i32::from(broker)))
    }

    /// Delays every answer of a broker.
    pub fn round_trip(&self, broker: u8, delay: Duration) -> Result<(), BusError> {
        sort(self.0.broker_round_trip_time(i32::from(broker), delay))
    }

    /// Moves a partition.
    pub fn leader(&self, topic: &str, partition: i32, broker: u8) -> Result<(), BusError> {
        sort(self.0.partition_leader(topic, partition, Some(i32::from(broker))))
    }

    /// Moves the coordinator of a group.
    pub fn coordinator(&self, group: &str, broker: u8) -> Result<(), BusError> {
        sort(
            self.0
                .coordinator(MockCoordinator::Group(group.to_owned()), i32::from(broker)),
        )
    }
}

fn sort(result: rdkafka::error::KafkaResult<()>) -> Result<(), BusError> {
    result.map_err(|e| BusError::sort(&e))
}

impl fmt::Debug for MockKafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MockKafka").field(&self.bootstrap()).finish()
    }
}
