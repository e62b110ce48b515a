//! Groups, as administrators see them: listed, described, deleted.
//!
//! In: names. Out: states and members. Always: a group that has offsets is there even when nobody reads; only
//! such a one can be deleted.

use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
        ListGroupsRequest, ListGroupsResponse,
        delete_groups_response::DeletableGroupResult,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
        list_groups_response::ListedGroup,
    },
    protocol::StrBytes,
};

use super::{
    super::{Node, OK, answer},
    code,
};
use crate::{
    connection::Answer,
    groups::State,
    protocol::{Incoming, ProtocolError, text},
};

/// Kafka's names of the states.
fn state_name(state: State) -> StrBytes {
    StrBytes::from_static_str(match state {
        State::Empty => "Empty",
        State::Joining => "PreparingRebalance",
        State::Syncing => "CompletingRebalance",
        State::Stable => "Stable",
    })
}

pub(in super::super) fn list(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: ListGroupsRequest = request.decode()?;
    let wanted = |state: &StrBytes| {
        asked.states_filter.is_empty() || asked.states_filter.iter().any(|s| s.eq_ignore_ascii_case(state))
    };
    let groups = node
        .groups
        .list()
        .into_iter()
        .filter_map(|(name, state, protocol_type)| {
            let state = Some(state_name(state)).filter(wanted)?;
            let listed = ListedGroup::default()
                .with_group_id(GroupId(text(name)))
                .with_protocol_type(text(protocol_type));
            Some(if request.version >= 4 {
                listed.with_group_state(state)
            } else {
                listed
            })
        });
    answer(
        request,
        &ListGroupsResponse::default().with_groups(groups.collect()),
    )
}

pub(in super::super) fn describe(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: DescribeGroupsRequest = request.decode()?;
    let groups = asked.groups.into_iter().map(|id| {
        let Some(found) = node.groups.describe(&id) else {
            return DescribedGroup::default()
                .with_group_id(id)
                .with_group_state(StrBytes::from_static_str("Dead"));
        };
        let members = found.members.into_iter().map(|member| {
            let told = DescribedGroupMember::default()
                .with_member_id(text(member.id))
                .with_client_id(text(member.client_id))
                .with_client_host(text(member.host))
                .with_member_metadata(member.metadata)
                .with_member_assignment(member.assignment);
            if request.version >= 4 {
                told.with_group_instance_id(member.instance.map(text))
            } else {
                told
            }
        });
        DescribedGroup::default()
            .with_group_id(id)
            .with_group_state(state_name(found.state))
            .with_protocol_type(text(found.protocol_type))
            .with_protocol_data(text(found.protocol))
            .with_members(members.collect())
    });
    answer(
        request,
        &DescribeGroupsResponse::default().with_groups(groups.collect()),
    )
}

pub(in super::super) async fn delete(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: DeleteGroupsRequest = request.decode()?;
    let mut results = Vec::with_capacity(asked.groups_names.len());
    for name in asked.groups_names {
        let error_code = match node.groups.delete(&name) {
            Ok(None) => OK,
            Ok(Some(synced)) => match synced.await.unwrap_or(false) {
                true => OK,
                false => ResponseError::KafkaStorageError.code(),
            },
            Err(error) => code(error),
        };
        results.push(
            DeletableGroupResult::default()
                .with_group_id(name)
                .with_error_code(error_code),
        );
    }
    answer(request, &DeleteGroupsResponse::default().with_results(results))
}
