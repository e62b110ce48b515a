//! Every version that is advertised is answered, in that version, with something in the answer.

use kafka_protocol::{
    messages::*,
    protocol::{Request, StrBytes},
    records::Compression,
};

use crate::{
    client::{Client, NOBODY, batch, name},
    stage::Stage,
};

/// Asks in each version; an answer that cannot be encoded or decoded ends the test.
async fn each<R: Request>(
    client: &mut Client,
    versions: std::ops::RangeInclusive<i16>,
    request: impl Fn(i16) -> R,
) {
    for version in versions {
        client.ask(&request(version), version).await;
    }
}

fn text(from: &str) -> StrBytes {
    StrBytes::from_string(from.to_owned())
}

async fn stage() -> (Stage, Client) {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.create("v", 2, &[]).await;
    client.put("v", 0, &["a record"]).await;
    (stage, client)
}

#[tokio::test]
async fn of_records_and_offsets() {
    use kafka_protocol::messages::{fetch_request::*, list_offsets_request::*, produce_request::*};
    let (_stage, mut client) = stage().await;
    each(&mut client, 3..=8, |_| {
        let records = batch(NOBODY, 1, Compression::None, &["x"]);
        let data = [0, 9].map(|i| {
            PartitionProduceData::default()
                .with_index(i)
                .with_records(Some(records.clone()))
        });
        let topic = TopicProduceData::default()
            .with_name(name("v"))
            .with_partition_data(data.to_vec());
        ProduceRequest::default()
            .with_acks(-1)
            .with_topic_data(vec![topic])
    })
    .await;
    each(&mut client, 4..=11, |_| {
        let partitions = [0, 9].map(|i| {
            FetchPartition::default()
                .with_partition(i)
                .with_partition_max_bytes(9999)
        });
        let topic = FetchTopic::default()
            .with_topic(name("v"))
            .with_partitions(partitions.to_vec());
        FetchRequest::default()
            .with_max_bytes(9999)
            .with_topics(vec![topic])
    })
    .await;
    each(&mut client, 1..=7, |_| {
        let partitions = [0, 9].map(|i| {
            ListOffsetsPartition::default()
                .with_partition_index(i)
                .with_timestamp(-1)
        });
        let topic = ListOffsetsTopic::default()
            .with_name(name("v"))
            .with_partitions(partitions.to_vec());
        ListOffsetsRequest::default().with_topics(vec![topic])
    })
    .await;
    each(&mut client, 2..=4, |_| {
        use offset_for_leader_epoch_request::*;
        let partition = OffsetForLeaderPartition::default();
        let topic = OffsetForLeaderTopic::default()
            .with_topic(name("v"))
            .with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    })
    .await;
    each(&mut client, 0..=4, |_| {
        InitProducerIdRequest::default().with_transactional_id(None)
    })
    .await;
}

#[tokio::test]
async fn of_topics_and_the_cluster() {
    use kafka_protocol::messages::{
        create_partitions_request::*, create_topics_request::*, describe_configs_request::*,
        metadata_request::*,
    };
    let (_stage, mut client) = stage().await;
    each(&mut client, 0..=3, |_| ApiVersionsRequest::default()).await;
    each(&mut client, 0..=9, |_| {
        let topics = ["v", "none"].map(|t| MetadataRequestTopic::default().with_name(Some(name(t))));
        MetadataRequest::default()
            .with_topics(Some(topics.to_vec()))
            .with_allow_auto_topic_creation(true)
    })
    .await;
    each(&mut client, 0..=0, |_| DescribeClusterRequest::default()).await;
    each(&mut client, 2..=6, |version| {
        let topics = [format!("new{version}"), "v".to_owned()].map(|topic| {
            let config = CreatableTopicConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("1")));
            let topic = CreatableTopic::default()
                .with_name(name(&topic))
                .with_configs(vec![config]);
            topic.with_num_partitions(1).with_replication_factor(1)
        });
        CreateTopicsRequest::default().with_topics(topics.to_vec())
    })
    .await;
    each(&mut client, 0..=3, |version| {
        let topic = CreatePartitionsTopic::default()
            .with_name(name("v"))
            .with_count(i32::from(version) + 2);
        CreatePartitionsRequest::default().with_topics(vec![topic.with_assignments(None)])
    })
    .await;
    each(&mut client, 1..=4, |_| {
        let resources = [(2, "v"), (2, "none"), (4, "1")].map(|(kind, name)| {
            let resource = DescribeConfigsResource::default().with_resource_type(kind);
            resource
                .with_resource_name(text(name))
                .with_configuration_keys(None)
        });
        DescribeConfigsRequest::default().with_resources(resources.to_vec())
    })
    .await;
    each(&mut client, 0..=2, |_| {
        use alter_configs_request::*;
        let config = AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("5")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("v"));
        AlterConfigsRequest::default().with_resources(vec![resource.with_configs(vec![config])])
    })
    .await;
    each(&mut client, 0..=1, |_| {
        use incremental_alter_configs_request::*;
        let config = AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("5")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("v"));
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource.with_configs(vec![config])])
    })
    .await;
    each(&mut client, 1..=5, |version| {
        DeleteTopicsRequest::default()
            .with_topic_names(vec![name(&format!("new{}", version + 1)), name("none")])
    })
    .await;
}

#[tokio::test]
async fn of_groups() {
    use kafka_protocol::messages::{offset_commit_request::*, offset_fetch_request::*};
    let (_stage, mut client) = stage().await;
    let group = || GroupId(text("g"));
    each(&mut client, 2..=8, |_| {
        let partitions = [0, 9].map(|i| OffsetCommitRequestPartition::default().with_partition_index(i));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(name("v"))
            .with_partitions(partitions.to_vec());
        OffsetCommitRequest::default()
            .with_group_id(group())
            .with_topics(vec![topic])
    })
    .await;
    each(&mut client, 1..=8, |version| {
        if version == 8 {
            let topic = OffsetFetchRequestTopics::default()
                .with_name(name("v"))
                .with_partition_indexes(vec![0, 1]);
            let wanted = OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(Some(vec![topic]));
            return OffsetFetchRequest::default().with_groups(vec![wanted]);
        }
        let topic = OffsetFetchRequestTopic::default()
            .with_name(name("v"))
            .with_partition_indexes(vec![0, 1]);
        OffsetFetchRequest::default()
            .with_group_id(group())
            .with_topics(Some(vec![topic]))
    })
    .await;
    each(&mut client, 0..=4, |version| {
        let request = FindCoordinatorRequest::default();
        if version == 4 {
            request.with_coordinator_keys(vec![text("g")])
        } else {
            request.with_key(text("g"))
        }
    })
    .await;
    each(&mut client, 0..=7, |version| {
        let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
        let request = JoinGroupRequest::default().with_group_id(GroupId(text(&format!("g{version}"))));
        request
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
            .with_session_timeout_ms(10_000)
    })
    .await;
}

#[tokio::test]
async fn of_members_and_administrators() {
    use kafka_protocol::messages::leave_group_request::*;
    let (_stage, mut client) = stage().await;
    let group = || GroupId(text("g"));
    each(&mut client, 0..=5, |_| {
        SyncGroupRequest::default().with_group_id(group())
    })
    .await;
    each(&mut client, 0..=4, |_| {
        HeartbeatRequest::default().with_group_id(group())
    })
    .await;
    each(&mut client, 0..=4, |_| ListGroupsRequest::default()).await;
    each(&mut client, 0..=5, |_| {
        DescribeGroupsRequest::default().with_groups(vec![
            group(),
            GroupId(text("g0")),
            GroupId(text("none")),
        ])
    })
    .await;
    each(&mut client, 0..=5, |version| {
        let request = LeaveGroupRequest::default().with_group_id(group());
        if version < 3 {
            request
        } else {
            request.with_members(vec![MemberIdentity::default()])
        }
    })
    .await;
    each(&mut client, 0..=2, |_| {
        DeleteGroupsRequest::default().with_groups_names(vec![group()])
    })
    .await;
}
