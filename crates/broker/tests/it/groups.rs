//! Consumer groups: joining, sharing, leaving, committing.

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteGroupsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
        JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest,
        SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestTopic,
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};

use crate::{
    client::{Client, name},
    stage::Stage,
};

fn text(from: &str) -> StrBytes {
    StrBytes::from_string(from.to_owned())
}

fn group() -> GroupId {
    GroupId(text("g"))
}

fn join(member: &str) -> JoinGroupRequest {
    let protocols = ["cooperative-sticky", "range"].map(|protocol| {
        JoinGroupRequestProtocol::default()
            .with_name(text(protocol))
            .with_metadata(Bytes::from_static(b"topics"))
    });
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(protocols.to_vec())
}

/// The two steps by which a consumer gets its id and then asks to join.
async fn enter(client: &mut Client) -> String {
    let first = client.ask(&join(""), 5).await;
    assert_eq!(first.error_code, ResponseError::MemberIdRequired.code());
    first.member_id.to_string()
}

fn sync(joined: &JoinGroupResponse) -> SyncGroupRequest {
    let assignments = joined.members.iter().map(|m| {
        let share = Bytes::from(format!("share of {}", m.member_id));
        SyncGroupRequestAssignment::default()
            .with_member_id(m.member_id.clone())
            .with_assignment(share)
    });
    SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(assignments.collect())
}

fn heartbeat(joined: &JoinGroupResponse) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
}

fn commit(member: &str, generation: i32, offset: i64, metadata: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text(metadata)));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![topic])
}

async fn committed(client: &mut Client) -> (i64, String) {
    let topic = OffsetFetchRequestTopic::default()
        .with_name(name("t"))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group())
        .with_topics(Some(vec![topic]));
    let answer = client.ask(&request, 7).await;
    let found = &answer.topics[0].partitions[0];
    (
        found.committed_offset,
        found.metadata.clone().unwrap_or_default().to_string(),
    )
}

#[tokio::test]
async fn members_share_and_a_second_one_makes_the_first_join_again() {
    let stage = Stage::start().await;
    let (mut one, mut two) = (stage.client().await, stage.client().await);
    let first = enter(&mut one).await;
    let alone = one.ask(&join(&first), 5).await;
    assert_eq!(
        (alone.error_code, alone.generation_id, alone.members.len()),
        (0, 1, 1)
    );
    assert_eq!(alone.protocol_name.as_deref(), Some("cooperative-sticky"));
    let share = one.ask(&sync(&alone), 3).await;
    assert_eq!(share.assignment, format!("share of {first}"));
    assert_eq!(one.ask(&heartbeat(&alone), 3).await.error_code, 0);

    let second = enter(&mut two).await;
    two.send(&join(&second), 5).await;
    while one.ask(&heartbeat(&alone), 3).await.error_code == 0 {}
    let both = one.ask(&join(&first), 5).await;
    let other = two.receive::<JoinGroupRequest>(5).await;
    assert_eq!(
        (both.generation_id, other.generation_id, both.members.len()),
        (2, 2, 2)
    );
    assert!(other.members.is_empty() && other.leader == *first);
    // The follower waits for the leader's assignment.
    two.send(&sync(&other), 3).await;
    one.ask(&sync(&both), 3).await;
    assert_eq!(
        two.receive::<SyncGroupRequest>(3).await.assignment,
        format!("share of {second}")
    );

    let stale = one.ask(&heartbeat(&alone), 3).await;
    assert_eq!(stale.error_code, ResponseError::IllegalGeneration.code());
    let leaving = MemberIdentity::default().with_member_id(text(&first));
    let left = LeaveGroupRequest::default()
        .with_group_id(group())
        .with_members(vec![leaving]);
    assert_eq!(one.ask(&left, 3).await.members[0].error_code, 0);
    let told = two.ask(&heartbeat(&other), 3).await;
    assert_eq!(told.error_code, ResponseError::RebalanceInProgress.code());
    let last = two.ask(&join(&second), 5).await;
    assert_eq!((last.generation_id, last.leader), (3, text(&second)));
}

#[tokio::test]
async fn a_silent_member_is_given_up() {
    let stage = Stage::start().await;
    let (mut one, mut two) = (stage.client().await, stage.client().await);
    let first = enter(&mut one).await;
    let short = join(&first).with_session_timeout_ms(50);
    let alone = one.ask(&short, 5).await;
    one.ask(&sync(&alone), 3).await;
    let second = enter(&mut two).await;
    let joined = two.ask(&join(&second), 5).await;
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    let gone = one.ask(&heartbeat(&alone), 3).await;
    assert_eq!(gone.error_code, ResponseError::UnknownMemberId.code());
}

#[tokio::test]
async fn commits_with_metadata_survive_a_crash_and_strangers_are_refused() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.create("t", 1, &[]).await;
    assert_eq!(committed(&mut client).await, (-1, String::new()));
    let member = enter(&mut client).await;
    let joined = client.ask(&join(&member), 5).await;
    client.ask(&sync(&joined), 3).await;
    for (who, generation, expected) in [
        (&*member, 1, 0),
        (&*member, 7, ResponseError::IllegalGeneration.code()),
        ("stranger", 1, ResponseError::UnknownMemberId.code()),
    ] {
        let told = client.ask(&commit(who, generation, 42, "1,3,5"), 7).await;
        assert_eq!(told.topics[0].partitions[0].error_code, expected);
    }
    let stage = Stage::start_in(stage.abandon().await, |_| {}).await.unwrap();
    let mut client = stage.client().await;
    assert_eq!(committed(&mut client).await, (42, "1,3,5".to_owned()));
    let back = client.ask(&join(&member), 5).await;
    assert_eq!(back.error_code, ResponseError::UnknownMemberId.code());
}

#[tokio::test]
async fn the_offsets_file_does_not_grow_for_ever() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.create("t", 1, &[]).await;
    let long = "m".repeat(4000);
    for offset in 0..700 {
        let told = client.ask(&commit("", -1, offset, &long), 7).await;
        assert_eq!(told.topics[0].partitions[0].error_code, 0);
    }
    let bytes = std::fs::metadata(stage.dir.path().join("offsets")).unwrap().len();
    assert!(bytes < 1_200_000, "{bytes}");
    let stage = stage.restart().await;
    assert_eq!(committed(&mut stage.client().await).await.0, 699);
}

#[tokio::test]
async fn groups_are_listed_described_and_deleted() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.create("t", 1, &[]).await;
    client.ask(&commit("", -1, 5, ""), 7).await;
    let listed = client.ask(&ListGroupsRequest::default(), 4).await;
    assert_eq!(
        (&*listed.groups[0].group_id.0, &*listed.groups[0].group_state),
        ("g", "Empty")
    );
    let member = enter(&mut client).await;
    client.ask(&join(&member), 5).await;
    let described = client
        .ask(&DescribeGroupsRequest::default().with_groups(vec![group()]), 5)
        .await;
    assert_eq!(&*described.groups[0].group_state, "CompletingRebalance");
    assert_eq!(&*described.groups[0].members[0].client_id, "test");
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    let refused = client.ask(&delete, 2).await.results[0].error_code;
    assert_eq!(refused, ResponseError::NonEmptyGroup.code());
    let leaving = LeaveGroupRequest::default()
        .with_group_id(group())
        .with_member_id(text(&member));
    assert_eq!(client.ask(&leaving, 1).await.error_code, 0);
    assert_eq!(client.ask(&delete, 2).await.results[0].error_code, 0);
    assert_eq!(committed(&mut client).await.0, -1);
}
