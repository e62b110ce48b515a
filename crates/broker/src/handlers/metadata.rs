//! Metadata: which topics there are, and that this broker leads them all.
//!
//! In: topic names, or none for all. Out: their partitions. Always: an unknown topic is created only when the
//! options and the request both allow it.

use std::collections::BTreeMap;

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeClusterResponse, MetadataRequest, MetadataResponse, TopicName,
        describe_cluster_response::DescribeClusterBroker,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
};

use super::{NODE, Node, OK, answer, blocking, topic_code};
use crate::{
    connection::Answer,
    protocol::{Incoming, ProtocolError, text},
    topics::{Topic, TopicError},
};

pub(super) async fn metadata(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: MetadataRequest = request.decode()?;
    let everything = request.version == 0 && asked.topics.as_ref().is_some_and(Vec::is_empty);
    let topics = match asked.topics.filter(|_| !everything) {
        None => node.topics.all().values().map(|topic| describe(topic)).collect(),
        Some(wanted) => {
            let mut topics = Vec::with_capacity(wanted.len());
            for name in wanted.into_iter().filter_map(|t| t.name) {
                topics.push(one(node, name, asked.allow_auto_topic_creation).await);
            }
            topics
        }
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(NODE)
        .with_host(text(node.host.clone()))
        .with_port(i32::from(node.port));
    let body = MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(node.cluster_id.clone())))
        .with_controller_id(NODE)
        .with_topics(topics);
    answer(request, &body)
}

pub(super) fn describe_cluster(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let broker = DescribeClusterBroker::default()
        .with_broker_id(NODE)
        .with_host(text(node.host.clone()))
        .with_port(i32::from(node.port));
    let body = DescribeClusterResponse::default()
        .with_cluster_id(text(node.cluster_id.clone()))
        .with_controller_id(NODE)
        .with_brokers(vec![broker]);
    answer(request, &body)
}

async fn one(node: &Node, name: TopicName, may_create: bool) -> MetadataResponseTopic {
    if let Some(topic) = node.topics.get(&name) {
        return describe(&topic);
    }
    let code = match may_create && node.auto_create_topics {
        false => ResponseError::UnknownTopicOrPartition,
        true => match create(node, &name).await {
            Ok(()) | Err(TopicError::Exists) => ResponseError::LeaderNotAvailable,
            Err(error) => topic_code(&error),
        },
    };
    if let Some(topic) = node.topics.get(&name) {
        return describe(&topic);
    }
    MetadataResponseTopic::default()
        .with_error_code(code.code())
        .with_name(Some(name))
}

async fn create(node: &Node, name: &str) -> Result<(), TopicError> {
    let (topics, name, partitions) = (node.topics.clone(), name.to_owned(), node.default_partitions);
    let made = blocking(move || topics.create(&name, partitions, BTreeMap::new(), false)).await;
    made.unwrap_or(Err(TopicError::Unknown))
}

fn describe(topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0_i32..).take(topic.partitions.len()).map(|index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(NODE)
            .with_leader_epoch(0)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    });
    MetadataResponseTopic::default()
        .with_error_code(OK)
        .with_name(Some(TopicName(text(topic.name.clone()))))
        .with_partitions(partitions.collect())
}
