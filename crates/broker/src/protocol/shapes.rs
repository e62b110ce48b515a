//! The shape of every request that is understood, from Kafka's published message definitions.
//!
//! In: a request key. Out: its shape. Always: covers every version in `SUPPORTED`; a test encodes each of them
//! with the codec and walks the result.

use kafka_protocol::messages::ApiKey;

use super::shape::{
    Field,
    Kind::{self, Bytes, Fixed, Items, Structs, Text},
    Shape,
};

const NEVER: i16 = i16::MAX;
const BOOL: Kind = Fixed(1);
const I8: Kind = Fixed(1);
const I16: Kind = Fixed(2);
const I32: Kind = Fixed(4);
const I64: Kind = Fixed(8);
const NUMBERS: Kind = Items(&Fixed(4));
const TEXTS: Kind = Items(&Text);

/// A field of all versions.
const fn f(kind: Kind) -> Field {
    within(kind, 0, NEVER)
}

/// A field that came with a version.
const fn since(kind: Kind, from: i16) -> Field {
    within(kind, from, NEVER)
}

const fn within(kind: Kind, from: i16, to: i16) -> Field {
    Field { kind, from, to }
}

const fn shape(flexible_from: i16, fields: &'static [Field]) -> Shape {
    Shape {
        flexible_from,
        fields,
    }
}

/// The shape of a request; `None` for one that is not understood.
pub(super) fn of(api: ApiKey) -> Option<&'static Shape> {
    Some(match api {
        ApiKey::Produce => &PRODUCE,
        ApiKey::Fetch => &FETCH,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::Metadata => &METADATA,
        ApiKey::OffsetCommit => &OFFSET_COMMIT,
        ApiKey::OffsetFetch => &OFFSET_FETCH,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::JoinGroup => &JOIN_GROUP,
        ApiKey::Heartbeat => &HEARTBEAT,
        ApiKey::LeaveGroup => &LEAVE_GROUP,
        ApiKey::SyncGroup => &SYNC_GROUP,
        ApiKey::DescribeGroups => &DESCRIBE_GROUPS,
        ApiKey::ListGroups => &LIST_GROUPS,
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::CreateTopics => &CREATE_TOPICS,
        ApiKey::DeleteTopics => &DELETE_TOPICS,
        ApiKey::InitProducerId => &INIT_PRODUCER_ID,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS,
        ApiKey::AlterConfigs => &ALTER_CONFIGS,
        ApiKey::CreatePartitions => &CREATE_PARTITIONS,
        ApiKey::DeleteGroups => &DELETE_GROUPS,
        ApiKey::IncrementalAlterConfigs => &INCREMENTAL_ALTER_CONFIGS,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
        _ => return None,
    })
}

static PRODUCE: Shape = shape(
    9,
    &[
        since(Text, 3),
        f(I16),
        f(I32),
        f(Structs(&[f(Text), f(Structs(&[f(I32), f(Bytes)]))])),
    ],
);

static FETCH: Shape = shape(
    12,
    &[
        f(I32),
        f(I32),
        f(I32),
        f(I32),
        f(I8),
        since(I32, 7),
        since(I32, 7),
        f(Structs(&[
            f(Text),
            f(Structs(&[
                f(I32),
                since(I32, 9),
                f(I64),
                since(I32, 12),
                since(I64, 5),
                f(I32),
            ])),
        ])),
        since(Structs(&[f(Text), f(NUMBERS)]), 7),
        since(Text, 11),
    ],
);

static LIST_OFFSETS: Shape = shape(
    6,
    &[
        f(I32),
        since(I8, 2),
        f(Structs(&[f(Text), f(Structs(&[f(I32), since(I32, 4), f(I64)]))])),
    ],
);

static METADATA: Shape = shape(
    9,
    &[
        f(Structs(&[f(Text)])),
        since(BOOL, 4),
        within(BOOL, 8, 10),
        since(BOOL, 8),
    ],
);

static OFFSET_COMMIT: Shape = shape(
    8,
    &[
        f(Text),
        f(I32),
        f(Text),
        since(Text, 7),
        within(I64, 2, 4),
        f(Structs(&[
            f(Text),
            f(Structs(&[f(I32), f(I64), since(I32, 6), f(Text)])),
        ])),
    ],
);

static OFFSET_FETCH: Shape = shape(
    6,
    &[
        within(Text, 0, 7),
        within(Structs(&[f(Text), f(NUMBERS)]), 0, 7),
        since(Structs(&[f(Text), f(Structs(&[f(Text), f(NUMBERS)]))]), 8),
        since(BOOL, 7),
    ],
);

static FIND_COORDINATOR: Shape = shape(3, &[within(Text, 0, 3), since(I8, 1), since(TEXTS, 4)]);

static JOIN_GROUP: Shape = shape(
    6,
    &[
        f(Text),
        f(I32),
        since(I32, 1),
        f(Text),
        since(Text, 5),
        f(Text),
        f(Structs(&[f(Text), f(Bytes)])),
        since(Text, 8),
    ],
);

static HEARTBEAT: Shape = shape(4, &[f(Text), f(I32), f(Text), since(Text, 3)]);

static LEAVE_GROUP: Shape = shape(
    4,
    &[
        f(Text),
        within(Text, 0, 2),
        since(Structs(&[f(Text), f(Text), since(Text, 5)]), 3),
    ],
);

static SYNC_GROUP: Shape = shape(
    4,
    &[
        f(Text),
        f(I32),
        f(Text),
        since(Text, 3),
        since(Text, 5),
        since(Text, 5),
        f(Structs(&[f(Text), f(Bytes)])),
    ],
);

static DESCRIBE_GROUPS: Shape = shape(5, &[f(TEXTS), since(BOOL, 3)]);
static LIST_GROUPS: Shape = shape(3, &[since(TEXTS, 4), since(TEXTS, 5)]);
static API_VERSIONS: Shape = shape(3, &[since(Text, 3), since(Text, 3)]);

static CREATE_TOPICS: Shape = shape(
    5,
    &[
        f(Structs(&[
            f(Text),
            f(I32),
            f(I16),
            f(Structs(&[f(I32), f(NUMBERS)])),
            f(Structs(&[f(Text), f(Text)])),
        ])),
        f(I32),
        since(BOOL, 1),
    ],
);

static DELETE_TOPICS: Shape = shape(4, &[f(TEXTS), f(I32)]);
static INIT_PRODUCER_ID: Shape = shape(2, &[f(Text), f(I32), since(I64, 3), since(I16, 3)]);

static OFFSET_FOR_LEADER_EPOCH: Shape = shape(
    4,
    &[
        since(I32, 3),
        f(Structs(&[f(Text), f(Structs(&[f(I32), since(I32, 2), f(I32)]))])),
    ],
);

static DESCRIBE_CONFIGS: Shape = shape(
    4,
    &[
        f(Structs(&[f(I8), f(Text), f(TEXTS)])),
        since(BOOL, 1),
        since(BOOL, 3),
    ],
);

static ALTER_CONFIGS: Shape = shape(
    2,
    &[
        f(Structs(&[f(I8), f(Text), f(Structs(&[f(Text), f(Text)]))])),
        f(BOOL),
    ],
);

static CREATE_PARTITIONS: Shape = shape(
    2,
    &[
        f(Structs(&[f(Text), f(I32), f(Structs(&[f(NUMBERS)]))])),
        f(I32),
        f(BOOL),
    ],
);

static DELETE_GROUPS: Shape = shape(2, &[f(TEXTS)]);

static INCREMENTAL_ALTER_CONFIGS: Shape = shape(
    1,
    &[
        f(Structs(&[f(I8), f(Text), f(Structs(&[f(Text), f(I8), f(Text)]))])),
        f(BOOL),
    ],
);

static DESCRIBE_CLUSTER: Shape = shape(0, &[f(BOOL), since(I8, 1)]);

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::{
        messages::{
            CreatePartitionsRequest, CreateTopicsRequest, FetchRequest, JoinGroupRequest, LeaveGroupRequest,
            OffsetCommitRequest, OffsetFetchRequest, ProduceRequest, RequestKind, SyncGroupRequest,
            create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
            create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
            fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
            join_group_request::JoinGroupRequestProtocol,
            leave_group_request::MemberIdentity,
            offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
            offset_fetch_request::{
                OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
            },
            produce_request::{PartitionProduceData, TopicProduceData},
            sync_group_request::SyncGroupRequestAssignment,
        },
        protocol::Request,
    };

    use super::*;
    use crate::protocol::SUPPORTED;

    /// Encodes with the codec, walks with the shape: nothing may be left, and nothing may be missing.
    fn fits<R: Request>(request: &R, version: i16) {
        let api = ApiKey::try_from(R::KEY).unwrap();
        let mut encoded = BytesMut::new();
        request
            .encode(&mut encoded, version)
            .unwrap_or_else(|error| panic!("{api:?} {version}: {error}"));
        let mut rest: &[u8] = &encoded;
        of(api)
            .unwrap()
            .check(&mut rest, version)
            .unwrap_or_else(|| panic!("{api:?} {version}: refused"));
        assert!(rest.is_empty(), "{api:?} {version}: {} bytes left", rest.len());
        let short = &mut &encoded[..encoded.len().saturating_sub(1)];
        assert!(
            encoded.is_empty() || of(api).unwrap().check(short, version).is_none(),
            "{api:?} {version}: cut"
        );
    }

    #[test]
    fn the_smallest_request_of_every_supported_version_fits() {
        for (api, low, high) in SUPPORTED {
            let low = if api == ApiKey::Produce { 3 } else { low };
            for version in low..=high {
                let mut bytes = BytesMut::new();
                if smallest(api).encode(&mut bytes, version).is_err() {
                    panic!("{api:?} {version} cannot be encoded");
                }
                let mut rest: &[u8] = &bytes;
                of(api)
                    .unwrap()
                    .check(&mut rest, version)
                    .unwrap_or_else(|| panic!("{api:?} {version}"));
                assert!(rest.is_empty(), "{api:?} {version}: {} bytes left", rest.len());
            }
        }
    }

    fn smallest(api: ApiKey) -> RequestKind {
        use kafka_protocol::messages as m;
        match api {
            ApiKey::Produce => m::ProduceRequest::default().into(),
            ApiKey::Fetch => m::FetchRequest::default().into(),
            ApiKey::ListOffsets => m::ListOffsetsRequest::default().into(),
            ApiKey::Metadata => m::MetadataRequest::default().into(),
            ApiKey::OffsetCommit => m::OffsetCommitRequest::default().into(),
            ApiKey::OffsetFetch => m::OffsetFetchRequest::default().into(),
            ApiKey::FindCoordinator => m::FindCoordinatorRequest::default().into(),
            ApiKey::JoinGroup => m::JoinGroupRequest::default().into(),
            ApiKey::Heartbeat => m::HeartbeatRequest::default().into(),
            ApiKey::LeaveGroup => m::LeaveGroupRequest::default().into(),
            ApiKey::SyncGroup => m::SyncGroupRequest::default().into(),
            ApiKey::DescribeGroups => m::DescribeGroupsRequest::default().into(),
            ApiKey::ListGroups => m::ListGroupsRequest::default().into(),
            ApiKey::ApiVersions => m::ApiVersionsRequest::default().into(),
            ApiKey::CreateTopics => m::CreateTopicsRequest::default().into(),
            ApiKey::DeleteTopics => m::DeleteTopicsRequest::default().into(),
            ApiKey::InitProducerId => m::InitProducerIdRequest::default().into(),
            ApiKey::OffsetForLeaderEpoch => m::OffsetForLeaderEpochRequest::default().into(),
            ApiKey::DescribeConfigs => m::DescribeConfigsRequest::default().into(),
            ApiKey::AlterConfigs => m::AlterConfigsRequest::default().into(),
            ApiKey::CreatePartitions => m::CreatePartitionsRequest::default().into(),
            ApiKey::DeleteGroups => m::DeleteGroupsRequest::default().into(),
            ApiKey::IncrementalAlterConfigs => m::IncrementalAlterConfigsRequest::default().into(),
            ApiKey::DescribeCluster => m::DescribeClusterRequest::default().into(),
            other => panic!("{other:?} is not supported"),
        }
    }

    #[test]
    fn requests_with_nested_fields_fit() {
        for version in 3..=8 {
            let data = PartitionProduceData::default().with_records(Some(Bytes::from_static(b"batch")));
            let topic = TopicProduceData::default().with_partition_data(vec![data]);
            fits(&ProduceRequest::default().with_topic_data(vec![topic]), version);
        }
        for version in 4..=11 {
            let topic = FetchTopic::default().with_partitions(vec![FetchPartition::default(); 2]);
            let request = FetchRequest::default().with_topics(vec![topic]);
            let forgotten = ForgottenTopic::default().with_partitions(vec![1, 2]);
            let request = if version >= 7 {
                request.with_forgotten_topics_data(vec![forgotten])
            } else {
                request
            };
            fits(&request, version);
        }
        for version in 2..=6 {
            let topic = CreatableTopic::default()
                .with_assignments(vec![
                    CreatableReplicaAssignment::default().with_broker_ids(vec![1.into()]),
                ])
                .with_configs(vec![CreatableTopicConfig::default()]);
            fits(&CreateTopicsRequest::default().with_topics(vec![topic]), version);
        }
        for version in 0..=3 {
            let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![1.into()]);
            let topic = CreatePartitionsTopic::default().with_assignments(Some(vec![assignment]));
            fits(
                &CreatePartitionsRequest::default().with_topics(vec![topic]),
                version,
            );
        }
    }

    #[test]
    fn requests_of_groups_fit() {
        for version in 2..=8 {
            let topic = OffsetCommitRequestTopic::default()
                .with_partitions(vec![OffsetCommitRequestPartition::default(); 2]);
            fits(&OffsetCommitRequest::default().with_topics(vec![topic]), version);
        }
        for version in 1..=7 {
            let topic = OffsetFetchRequestTopic::default().with_partition_indexes(vec![1, 2]);
            fits(
                &OffsetFetchRequest::default().with_topics(Some(vec![topic])),
                version,
            );
        }
        let topic = OffsetFetchRequestTopics::default().with_partition_indexes(vec![1, 2]);
        let group = OffsetFetchRequestGroup::default().with_topics(Some(vec![topic]));
        fits(&OffsetFetchRequest::default().with_groups(vec![group]), 8);
        for version in 0..=7 {
            let protocol = JoinGroupRequestProtocol::default().with_metadata(Bytes::from_static(b"m"));
            fits(
                &JoinGroupRequest::default().with_protocols(vec![protocol]),
                version,
            );
        }
        for version in 0..=5 {
            let assignment = SyncGroupRequestAssignment::default().with_assignment(Bytes::from_static(b"a"));
            fits(
                &SyncGroupRequest::default().with_assignments(vec![assignment]),
                version,
            );
        }
        for version in 3..=5 {
            fits(
                &LeaveGroupRequest::default().with_members(vec![MemberIdentity::default()]),
                version,
            );
        }
    }
}
