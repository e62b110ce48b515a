//! Topic administration: making, growing and deleting topics.
//!
//! In: names and counts. Out: per topic, done or why not. Always: done means on disk; a trial changes nothing.

use std::collections::BTreeMap;

use kafka_protocol::{
    ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
        DeleteTopicsRequest, DeleteTopicsResponse,
        create_partitions_response::CreatePartitionsTopicResult,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
        delete_topics_response::DeletableTopicResult,
    },
    protocol::StrBytes,
};
use tracing::{info, warn};

use super::{Node, OK, answer, blocking, topic_code};
use crate::{
    connection::Answer,
    protocol::{Incoming, ProtocolError, text},
    topics::TopicError,
};

/// An error code and, for people, the reason.
pub(super) type Refusal = (i16, Option<StrBytes>);

/// What is told of a change; failures of the disk are the operator's business, too.
pub(super) fn outcome(result: Option<Result<(), TopicError>>, name: &str, change: &'static str) -> Refusal {
    match result {
        Some(Ok(())) => {
            info!(topic = name, change, "topic changed");
            (OK, None)
        }
        Some(Err(error)) => {
            if matches!(error, TopicError::Storage(_)) {
                warn!(topic = name, change, error = %error, "topic not changed");
            }
            (topic_code(&error).code(), Some(text(error.to_string())))
        }
        None => (ResponseError::UnknownServerError.code(), None),
    }
}

pub(super) async fn create_topics(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: CreateTopicsRequest = request.decode()?;
    let mut results = Vec::with_capacity(asked.topics.len());
    for topic in asked.topics {
        let (code, message) = create(node, &topic, asked.validate_only).await;
        let mut result = CreatableTopicResult::default()
            .with_name(topic.name.clone())
            .with_error_code(code)
            .with_error_message(message);
        if code == OK {
            result = result
                .with_num_partitions(partitions_of(node, &topic))
                .with_replication_factor(1)
                .with_configs(Some(
                    topic
                        .configs
                        .into_iter()
                        .map(|c| config(c.name, c.value))
                        .collect(),
                ));
        }
        results.push(result);
    }
    answer(request, &CreateTopicsResponse::default().with_topics(results))
}

fn config(name: StrBytes, value: Option<StrBytes>) -> CreatableTopicConfigs {
    CreatableTopicConfigs::default()
        .with_name(name)
        .with_value(value)
        .with_config_source(1)
}

async fn create(node: &Node, topic: &CreatableTopic, trial: bool) -> Refusal {
    let replicas = topic
        .assignments
        .iter()
        .map(|a| a.broker_ids.len())
        .max()
        .unwrap_or(1);
    if !matches!(topic.replication_factor, -1 | 1) || replicas != 1 {
        let reason = "one machine keeps one copy: the replication factor is 1";
        return (
            ResponseError::InvalidReplicationFactor.code(),
            Some(StrBytes::from_static_str(reason)),
        );
    }
    let settings: BTreeMap<String, String> = topic
        .configs
        .iter()
        .filter_map(|c| Some((c.name.to_string(), c.value.as_ref()?.to_string())))
        .collect();
    let (topics, name, partitions) = (
        node.topics.clone(),
        topic.name.to_string(),
        partitions_of(node, topic),
    );
    let made = blocking(move || topics.create(&name, partitions, settings, trial)).await;
    outcome(made, &topic.name, "create")
}

fn partitions_of(node: &Node, topic: &CreatableTopic) -> i32 {
    match (topic.num_partitions, topic.assignments.len()) {
        (-1, 0) => node.default_partitions,
        (-1, assigned) => i32::try_from(assigned).unwrap_or(i32::MAX),
        (count, _) => count,
    }
}

pub(super) async fn create_partitions(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: CreatePartitionsRequest = request.decode()?;
    let mut results = Vec::with_capacity(asked.topics.len());
    for topic in asked.topics {
        let (topics, name, count) = (node.topics.clone(), topic.name.to_string(), topic.count);
        let grown = blocking(move || topics.grow(&name, count, asked.validate_only)).await;
        let (code, message) = outcome(grown, &topic.name, "grow");
        results.push(
            CreatePartitionsTopicResult::default()
                .with_name(topic.name)
                .with_error_code(code)
                .with_error_message(message),
        );
    }
    answer(
        request,
        &CreatePartitionsResponse::default().with_results(results),
    )
}

pub(super) async fn delete_topics(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: DeleteTopicsRequest = request.decode()?;
    let mut results = Vec::with_capacity(asked.topic_names.len());
    for name in asked.topic_names {
        let (topics, groups, gone) = (node.topics.clone(), node.groups.clone(), name.to_string());
        let deleted = blocking(move || {
            topics.delete(&gone)?;
            groups.forget_topic(&gone);
            Ok(())
        });
        let (code, message) = outcome(deleted.await, &name, "delete");
        let result = DeletableTopicResult::default()
            .with_name(Some(name))
            .with_error_code(code);
        // The codec refuses a message in versions that have none.
        results.push(if request.version >= 5 {
            result.with_error_message(message)
        } else {
            result
        });
    }
    answer(request, &DeleteTopicsResponse::default().with_responses(results))
}
