//! Settings of topics: told and changed.
//!
//! In: names of topics and settings. Out: values and where they come from, or done. Always: the broker's own
//! settings can be looked at and not changed; they are options of the process.

use std::collections::BTreeMap;

use kafka_protocol::{
    ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs_response,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
        incremental_alter_configs_request::AlterableConfig,
        incremental_alter_configs_response,
    },
    protocol::StrBytes,
};

use super::{
    Node, OK,
    admin::{Refusal, outcome},
    answer, blocking,
};
use crate::{
    connection::Answer,
    protocol::{Incoming, ProtocolError, text},
    topics::{SettingRefusal, Settings, defaults},
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Where a value comes from: set on the topic, or the default.
const SET: i8 = 1;
const DEFAULT: i8 = 5;

pub(super) fn describe(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: DescribeConfigsRequest = request.decode()?;
    let results = asked.resources.into_iter().map(|resource| {
        let (code, configs) = match resource.resource_type {
            BROKER => (OK, Vec::new()),
            TOPIC => match node.topics.get(&resource.resource_name) {
                Some(topic) => (OK, values(&topic.settings, &resource)),
                None => (ResponseError::UnknownTopicOrPartition.code(), Vec::new()),
            },
            _ => (ResponseError::InvalidRequest.code(), Vec::new()),
        };
        DescribeConfigsResult::default()
            .with_error_code(code)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_configs(configs)
    });
    answer(
        request,
        &DescribeConfigsResponse::default().with_results(results.collect()),
    )
}

fn values(settings: &Settings, asked: &DescribeConfigsResource) -> Vec<DescribeConfigsResourceResult> {
    let set = settings.values();
    let wanted = |name: &str| {
        asked
            .configuration_keys
            .as_ref()
            .is_none_or(|keys| keys.iter().any(|k| *k == *name))
    };
    defaults()
        .filter(|(name, _)| wanted(name))
        .map(|(name, default)| {
            let default = match name {
                "segment.bytes" => settings.segment_bytes().to_string(),
                _ => default.to_owned(),
            };
            let own = set.get(name).cloned();
            DescribeConfigsResourceResult::default()
                .with_name(StrBytes::from_static_str(name))
                .with_config_source(if own.is_some() { SET } else { DEFAULT })
                .with_value(Some(text(own.unwrap_or(default))))
        })
        .collect()
}

/// Replaces all of a topic's settings.
pub(super) async fn alter(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: AlterConfigsRequest = request.decode()?;
    let mut responses = Vec::with_capacity(asked.resources.len());
    for resource in asked.resources {
        let wanted: BTreeMap<String, String> = resource
            .configs
            .into_iter()
            .filter_map(|c| Some((c.name.to_string(), c.value?.to_string())))
            .collect();
        let replace = move |values: &mut BTreeMap<String, String>| {
            *values = wanted;
            Ok(())
        };
        let target = (resource.resource_type, &*resource.resource_name);
        let (code, message) = change(node, target, replace, asked.validate_only).await;
        responses.push(
            alter_configs_response::AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(message)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    answer(
        request,
        &AlterConfigsResponse::default().with_responses(responses),
    )
}

/// Changes some of a topic's settings.
pub(super) async fn alter_incrementally(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: IncrementalAlterConfigsRequest = request.decode()?;
    let mut responses = Vec::with_capacity(asked.resources.len());
    for resource in asked.resources {
        let changes = resource.configs;
        let apply_all =
            move |values: &mut BTreeMap<String, String>| changes.iter().try_for_each(|c| apply(values, c));
        let target = (resource.resource_type, &*resource.resource_name);
        let (code, message) = change(node, target, apply_all, asked.validate_only).await;
        responses.push(
            incremental_alter_configs_response::AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(message)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    answer(
        request,
        &IncrementalAlterConfigsResponse::default().with_responses(responses),
    )
}

fn apply(values: &mut BTreeMap<String, String>, change: &AlterableConfig) -> Result<(), SettingRefusal> {
    let name = change.name.to_string();
    match (change.config_operation, &change.value) {
        (0, Some(value)) => values.insert(name, value.to_string()),
        (1, _) => values.remove(&name),
        // Appending to and taking from lists: there is one list, cleanup.policy, and it is set whole.
        _ => return Err(SettingRefusal::Operation(name)),
    };
    Ok(())
}

async fn change(
    node: &Node,
    (kind, name): (i8, &str),
    change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), SettingRefusal> + Send + 'static,
    trial: bool,
) -> Refusal {
    if kind != TOPIC {
        let reason = "only topics can be set; the broker's settings are options of its process";
        return (
            ResponseError::InvalidRequest.code(),
            Some(StrBytes::from_static_str(reason)),
        );
    }
    let (topics, topic) = (node.topics.clone(), name.to_owned());
    outcome(
        blocking(move || topics.configure(&topic, change, trial)).await,
        name,
        "configure",
    )
}
