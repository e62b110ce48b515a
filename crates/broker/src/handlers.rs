//! Handlers: what is done with each request.
//!
//! In: a request and what the connection keeps. Out: an answer. Always: what may block runs on a blocking
//! thread; a failure of one topic, partition or group is an error code beside the others' answers.

mod admin;
mod configs;
mod fetch;
mod groups;
mod metadata;
mod offsets;
pub(crate) mod produce;
mod versions;

use std::sync::Arc;

use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, BrokerId},
    protocol::{Encodable, Message},
};
use tokio::sync::Semaphore;

use crate::{
    connection::{Answer, Peer},
    groups::Groups,
    log::{AppendError, ReadError},
    options::Limits,
    producer_ids::ProducerIds,
    protocol::{Incoming, ProtocolError},
    stats::Stats,
    topics::{TopicError, Topics},
};

/// The id of the only broker.
pub(crate) const NODE: BrokerId = BrokerId(1);

/// No error.
pub(crate) const OK: i16 = 0;

/// Everything that requests are answered from.
pub(crate) struct Node {
    pub(crate) cluster_id: String,
    /// What clients are told to connect to.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) default_partitions: i32,
    pub(crate) auto_create_topics: bool,
    pub(crate) limits: Limits,
    pub(crate) stats: Arc<Stats>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) producer_ids: Arc<ProducerIds>,
    /// Memory for large answers, in KiB.
    pub(crate) answer_memory: Arc<Semaphore>,
}

/// Answers any request but produce, whose answers wait for the disk in the connection.
pub(crate) async fn handle(peer: &Peer, request: &Incoming) -> Result<Answer, ProtocolError> {
    let node = &peer.node;
    match request.api {
        ApiKey::ApiVersions => versions::api_versions(request),
        ApiKey::Metadata => metadata::metadata(node, request).await,
        ApiKey::DescribeCluster => metadata::describe_cluster(node, request),
        ApiKey::Fetch => fetch::fetch(peer, request).await,
        ApiKey::ListOffsets => offsets::list_offsets(node, request).await,
        ApiKey::OffsetForLeaderEpoch => offsets::offset_for_leader_epoch(node, request),
        ApiKey::InitProducerId => produce::init_producer_id(node, request).await,
        ApiKey::CreateTopics => admin::create_topics(node, request).await,
        ApiKey::CreatePartitions => admin::create_partitions(node, request).await,
        ApiKey::DeleteTopics => admin::delete_topics(node, request).await,
        ApiKey::DescribeConfigs => configs::describe(node, request),
        ApiKey::AlterConfigs => configs::alter(node, request).await,
        ApiKey::IncrementalAlterConfigs => configs::alter_incrementally(node, request).await,
        ApiKey::FindCoordinator => groups::find_coordinator(node, request),
        ApiKey::JoinGroup => groups::join(peer, request).await,
        ApiKey::SyncGroup => groups::sync(node, request).await,
        ApiKey::Heartbeat => groups::heartbeat(node, request),
        ApiKey::LeaveGroup => groups::leave(node, request),
        ApiKey::OffsetCommit => groups::offset_commit(node, request).await,
        ApiKey::OffsetFetch => groups::offset_fetch(node, request),
        ApiKey::ListGroups => groups::list(node, request),
        ApiKey::DescribeGroups => groups::describe(node, request),
        ApiKey::DeleteGroups => groups::delete(node, request).await,
        other => Err(ProtocolError::Unknown(other as i16)),
    }
}

/// Frames an answer that holds no memory worth counting.
fn answer<M: Message + Encodable>(request: &Incoming, body: &M) -> Result<Answer, ProtocolError> {
    Ok(Answer {
        frame: Some(request.answer(body)?),
        memory: None,
    })
}

/// Runs what may block away from the async threads. `None` when it panicked, which is logged by the hook.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// The protocol's word for an append that failed.
fn append_code(error: &AppendError) -> ResponseError {
    match error {
        AppendError::OutOfOrder => ResponseError::OutOfOrderSequenceNumber,
        AppendError::OldEpoch => ResponseError::InvalidProducerEpoch,
        AppendError::Deleted => ResponseError::UnknownTopicOrPartition,
        AppendError::Storage => ResponseError::KafkaStorageError,
    }
}

/// The protocol's word for a read that failed.
fn read_code(error: &ReadError) -> ResponseError {
    match error {
        ReadError::OutOfRange => ResponseError::OffsetOutOfRange,
        ReadError::Deleted => ResponseError::UnknownTopicOrPartition,
        ReadError::Storage => ResponseError::KafkaStorageError,
    }
}

/// The protocol's word for a topic that was not changed.
fn topic_code(error: &TopicError) -> ResponseError {
    match error {
        TopicError::Name => ResponseError::InvalidTopicException,
        TopicError::Exists => ResponseError::TopicAlreadyExists,
        TopicError::Unknown => ResponseError::UnknownTopicOrPartition,
        TopicError::Partitions => ResponseError::InvalidPartitions,
        TopicError::Setting(_) => ResponseError::InvalidConfig,
        TopicError::Storage(_) => ResponseError::KafkaStorageError,
    }
}
