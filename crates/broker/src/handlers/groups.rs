//! Group requests: what the protocol asks of groups, and how they answer.
//!
//! In: requests of consumers and administrators. Out: answers. Always: this broker coordinates every group; an
//! answer to a join or a sync may wait for other members, never longer than their rebalance timeouts.

use std::{collections::HashMap, time::Duration};

use kafka_protocol::{
    ResponseError,
    messages::{
        FindCoordinatorRequest, FindCoordinatorResponse, GroupId, HeartbeatRequest, HeartbeatResponse,
        JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest,
        SyncGroupResponse, find_coordinator_response::Coordinator,
        join_group_response::JoinGroupResponseMember, leave_group_response::MemberResponse,
    },
    protocol::StrBytes,
};

pub(super) use admin::{delete, describe, list};
pub(super) use commits::{offset_commit, offset_fetch};

use super::{NODE, Node, OK, answer};
use crate::{
    connection::{Answer, Peer},
    groups::{GroupError, Joined, Joiner, Joining, Syncing},
    protocol::{Incoming, ProtocolError, text},
};

mod admin;
mod commits;

/// The protocol's word for a group's no.
fn code(error: GroupError) -> i16 {
    match error {
        GroupError::InvalidGroup => ResponseError::InvalidGroupId,
        GroupError::TooManyGroups => ResponseError::CoordinatorNotAvailable,
        GroupError::UnknownMember => ResponseError::UnknownMemberId,
        GroupError::MemberIdRequired => ResponseError::MemberIdRequired,
        GroupError::FencedInstance => ResponseError::FencedInstanceId,
        GroupError::IllegalGeneration => ResponseError::IllegalGeneration,
        GroupError::Rebalancing => ResponseError::RebalanceInProgress,
        GroupError::InconsistentProtocol => ResponseError::InconsistentGroupProtocol,
        GroupError::InvalidSession => ResponseError::InvalidSessionTimeout,
        GroupError::GroupFull => ResponseError::GroupMaxSizeReached,
        GroupError::NotEmpty => ResponseError::NonEmptyGroup,
        GroupError::NotFound => ResponseError::GroupIdNotFound,
        GroupError::Storage => ResponseError::KafkaStorageError,
    }
    .code()
}

fn status(result: Result<(), GroupError>) -> i16 {
    result.map_or_else(code, |()| OK)
}

pub(super) fn find_coordinator(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: FindCoordinatorRequest = request.decode()?;
    // There are no transactions, hence no coordinator of any.
    let known = asked.key_type == 0;
    let code = if known {
        OK
    } else {
        ResponseError::CoordinatorNotAvailable.code()
    };
    let (host, port) = (text(node.host.clone()), i32::from(node.port));
    if request.version < 4 {
        let body = FindCoordinatorResponse::default()
            .with_error_code(code)
            .with_node_id(NODE)
            .with_host(host)
            .with_port(port);
        return answer(request, &body);
    }
    let coordinators = asked.coordinator_keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(code)
            .with_node_id(NODE)
            .with_host(host.clone())
            .with_port(port)
    });
    answer(
        request,
        &FindCoordinatorResponse::default().with_coordinators(coordinators.collect()),
    )
}

pub(super) async fn join(peer: &Peer, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: JoinGroupRequest = request.decode()?;
    let session = millis(asked.session_timeout_ms);
    let joiner = Joiner {
        id: asked.member_id.to_string(),
        instance: asked.group_instance_id.map(|id| id.to_string()),
        client_id: request.client_id.clone(),
        host: peer.host.clone(),
        session,
        rebalance: if request.version >= 1 {
            millis(asked.rebalance_timeout_ms)
        } else {
            session
        },
        protocol_type: asked.protocol_type.to_string(),
        protocols: asked
            .protocols
            .into_iter()
            .map(|p| (p.name.to_string(), p.metadata))
            .collect(),
        takes_id_first: request.version >= 4,
    };
    let mut id = joiner.id.clone();
    let result = match peer.node.groups.join(&asked.group_id, joiner) {
        Joining::Wait(receiver) => receiver.await.unwrap_or(Err(GroupError::UnknownMember)),
        Joining::Now(own, result) => {
            id = own;
            result
        }
    };
    let body = match result {
        Ok(joined) => tell_joined(joined, request.version),
        Err(error) => JoinGroupResponse::default()
            .with_error_code(code(error))
            .with_generation_id(-1)
            .with_protocol_name((request.version < 7).then(StrBytes::new))
            .with_member_id(text(id)),
    };
    answer(request, &body)
}

fn tell_joined(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(id, instance, metadata)| {
        let member = JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_metadata(metadata);
        if version >= 5 {
            member.with_group_instance_id(instance.map(text))
        } else {
            member
        }
    });
    let body = JoinGroupResponse::default()
        .with_error_code(OK)
        .with_generation_id(joined.generation)
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_member_id(text(joined.member))
        .with_members(members.collect());
    if version >= 7 {
        body.with_protocol_type(Some(text(joined.protocol_type)))
    } else {
        body
    }
}

pub(super) async fn sync(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: SyncGroupRequest = request.decode()?;
    let assignments: HashMap<_, _> = asked
        .assignments
        .into_iter()
        .map(|a| (a.member_id.to_string(), a.assignment))
        .collect();
    let result = match node.groups.sync(
        &asked.group_id,
        &asked.member_id,
        asked.generation_id,
        assignments,
    ) {
        Syncing::Wait(receiver) => receiver.await.unwrap_or(Err(GroupError::UnknownMember)),
        Syncing::Now(result) => result,
    };
    let body = match result {
        Err(error) => SyncGroupResponse::default().with_error_code(code(error)),
        Ok(assigned) => {
            let body = SyncGroupResponse::default()
                .with_error_code(OK)
                .with_assignment(assigned.assignment);
            match request.version >= 5 {
                true => body
                    .with_protocol_type(Some(text(assigned.protocol_type)))
                    .with_protocol_name(Some(text(assigned.protocol))),
                false => body,
            }
        }
    };
    answer(request, &body)
}

pub(super) fn heartbeat(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: HeartbeatRequest = request.decode()?;
    let result = node
        .groups
        .heartbeat(&asked.group_id, &asked.member_id, asked.generation_id);
    answer(
        request,
        &HeartbeatResponse::default().with_error_code(status(result)),
    )
}

pub(super) fn leave(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: LeaveGroupRequest = request.decode()?;
    let leave =
        |group: &GroupId, id: &str, instance: Option<&str>| status(node.groups.leave(group, id, instance));
    if request.version < 3 {
        let code = leave(&asked.group_id, &asked.member_id, None);
        return answer(request, &LeaveGroupResponse::default().with_error_code(code));
    }
    let members = asked.members.into_iter().map(|member| {
        let code = leave(
            &asked.group_id,
            &member.member_id,
            member.group_instance_id.as_deref(),
        );
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code)
    });
    answer(
        request,
        &LeaveGroupResponse::default().with_members(members.collect()),
    )
}

fn millis(milliseconds: i32) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}
