//! Topic administration: made, grown, set, deleted, told.

use kafka_protocol::{
    ResponseError,
    messages::{
        CreatePartitionsRequest, DeleteTopicsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
        MetadataRequest,
        create_partitions_request::CreatePartitionsTopic,
        describe_configs_request::DescribeConfigsResource,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        metadata_request::MetadataRequestTopic,
    },
    protocol::StrBytes,
};

use crate::{
    client::{Client, name},
    stage::Stage,
};

async fn partitions(client: &mut Client, topic: &str) -> Result<usize, i16> {
    let wanted = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![wanted]))
        .with_allow_auto_topic_creation(true);
    let answer = client.ask(&request, 9).await;
    let told = &answer.topics[0];
    if told.error_code == 0 {
        Ok(told.partitions.len())
    } else {
        Err(told.error_code)
    }
}

async fn grow(client: &mut Client, topic: &str, count: i32) -> i16 {
    let topic = CreatePartitionsTopic::default()
        .with_name(name(topic))
        .with_count(count)
        .with_assignments(None);
    client
        .ask(&CreatePartitionsRequest::default().with_topics(vec![topic]), 2)
        .await
        .results[0]
        .error_code
}

async fn setting(client: &mut Client, topic: &str, setting: &'static str) -> (String, i8) {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(StrBytes::from_string(topic.to_owned()))
        .with_configuration_keys(Some(vec![StrBytes::from_static_str(setting)]));
    let answer = client
        .ask(
            &DescribeConfigsRequest::default().with_resources(vec![resource]),
            4,
        )
        .await;
    let told = &answer.results[0].configs[0];
    (told.value.clone().unwrap().to_string(), told.config_source)
}

#[tokio::test]
async fn topics_are_made_grown_and_still_there_after_a_restart() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    assert_eq!(client.create("a.b_c-1", 3, &[]).await, 0);
    assert_eq!(
        client.create("a.b_c-1", 3, &[]).await,
        ResponseError::TopicAlreadyExists.code()
    );
    assert_eq!(
        client.create("no/slash", 1, &[]).await,
        ResponseError::InvalidTopicException.code()
    );
    assert_eq!(
        client.create("..", 1, &[]).await,
        ResponseError::InvalidTopicException.code()
    );
    assert_eq!(
        client.create("zero", 0, &[]).await,
        ResponseError::InvalidPartitions.code()
    );
    assert_eq!(
        client.create("odd", 1, &[("no.such", "1")]).await,
        ResponseError::InvalidConfig.code()
    );
    client.put("a.b_c-1", 2, &["before"]).await;
    assert_eq!(
        grow(&mut client, "a.b_c-1", 2).await,
        ResponseError::InvalidPartitions.code()
    );
    assert_eq!(grow(&mut client, "a.b_c-1", 5).await, 0);
    client.put("a.b_c-1", 4, &["after"]).await;
    let stage = stage.restart().await;
    let mut client = stage.client().await;
    assert_eq!(partitions(&mut client, "a.b_c-1").await, Ok(5));
    assert_eq!(client.values("a.b_c-1", 2, 0).await, ["before"]);
    assert_eq!(client.values("a.b_c-1", 4, 0).await, ["after"]);
}

#[tokio::test]
async fn unknown_topics_are_made_only_where_that_was_chosen() {
    let stage = Stage::start().await;
    let unknown = partitions(&mut stage.client().await, "new").await;
    assert_eq!(unknown, Err(ResponseError::UnknownTopicOrPartition.code()));
    let stage = Stage::start_with(|o| {
        o.auto_create_topics = true;
        o.default_partitions = 7;
    });
    assert_eq!(partitions(&mut stage.await.client().await, "new").await, Ok(7));
}

#[tokio::test]
async fn a_deleted_topic_is_gone_and_may_be_made_again() {
    let stage = Stage::start().await;
    let (mut client, mut reader) = (stage.client().await, stage.client().await);
    client.create("gone", 1, &[]).await;
    client.put("gone", 0, &["old"]).await;
    // A reader that waits on it is told.
    reader.send_fetch("gone", &[(0, 1)], 3_600_000, 1).await;
    while stage
        .stats
        .fetches_waited
        .load(std::sync::atomic::Ordering::Relaxed)
        == 0
    {
        tokio::task::yield_now().await;
    }
    let request = DeleteTopicsRequest::default().with_topic_names(vec![name("gone")]);
    assert_eq!(client.ask(&request, 3).await.responses[0].error_code, 0);
    reader.receive_fetched().await;
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(client.fetch("gone", 0, 0).await.error_code, unknown);
    assert_eq!(client.ask(&request, 3).await.responses[0].error_code, unknown);
    assert_eq!(client.create("gone", 1, &[]).await, 0);
    assert_eq!(client.put("gone", 0, &["new"]).await, 0);
    let stage = stage.restart().await;
    assert_eq!(stage.client().await.values("gone", 0, 0).await, ["new"]);
}

#[tokio::test]
async fn settings_are_kept_told_and_changed() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.create("set", 1, &[("retention.ms", "1000")]).await;
    assert_eq!(
        setting(&mut client, "set", "retention.ms").await,
        ("1000".to_owned(), 1)
    );
    assert_eq!(
        setting(&mut client, "set", "cleanup.policy").await,
        ("delete".to_owned(), 5)
    );
    let change = |name: &'static str, operation, value: Option<&'static str>| {
        let config = AlterableConfig::default()
            .with_name(StrBytes::from_static_str(name))
            .with_config_operation(operation)
            .with_value(value.map(StrBytes::from_static_str));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(StrBytes::from_static_str("set"))
            .with_configs(vec![config]);
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    };
    for (request, expected) in [
        (change("cleanup.policy", 0, Some("compact")), 0),
        (change("retention.ms", 1, None), 0),
        (
            change("retention.ms", 0, Some("never")),
            ResponseError::InvalidConfig.code(),
        ),
    ] {
        assert_eq!(client.ask(&request, 1).await.responses[0].error_code, expected);
    }
    let stage = stage.restart().await;
    let mut client = stage.client().await;
    assert_eq!(
        setting(&mut client, "set", "cleanup.policy").await,
        ("compact".to_owned(), 1)
    );
    assert_eq!(
        setting(&mut client, "set", "retention.ms").await,
        ("604800000".to_owned(), 5)
    );
}
