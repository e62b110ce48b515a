//! Commits: how far a group is.
//!
//! In: positions, or questions for them. Out: done, or the positions. Always: done means on disk; a position
//! that was never committed is -1.

use kafka_protocol::{
    ResponseError,
    messages::{
        GroupId, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
        TopicName,
        offset_commit_request::OffsetCommitRequestPartition,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
};

use super::{
    super::{Node, OK, answer},
    code,
};
use crate::{
    connection::Answer,
    groups::Committed,
    protocol::{Incoming, ProtocolError, text},
};

/// A topic and its partitions' positions; `None` where nothing was committed.
type Found = (TopicName, Vec<(i32, Option<Committed>)>);

pub(in super::super) async fn offset_commit(
    node: &Node,
    request: &Incoming,
) -> Result<Answer, ProtocolError> {
    let asked: OffsetCommitRequest = request.decode()?;
    let generation = asked.generation_id_or_member_epoch;
    let allowed = node
        .groups
        .may_commit(&asked.group_id, &asked.member_id, generation);
    let mut positions = Vec::new();
    let mut topics = Vec::with_capacity(asked.topics.len());
    for topic in asked.topics {
        let mut told = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let judged = allowed
                .map_err(code)
                .and_then(|()| judge(node, &topic.name, &partition));
            let error_code = judged.err().unwrap_or(OK);
            if error_code == OK {
                positions.push((topic.name.to_string(), index, committed(partition)));
            }
            told.push(
                OffsetCommitResponsePartition::default()
                    .with_partition_index(index)
                    .with_error_code(error_code),
            );
        }
        topics.push(
            OffsetCommitResponseTopic::default()
                .with_name(topic.name)
                .with_partitions(told),
        );
    }
    if !positions.is_empty() && !keep(node, &asked.group_id, positions).await {
        let failed = ResponseError::KafkaStorageError.code();
        let taken = topics
            .iter_mut()
            .flat_map(|t| &mut t.partitions)
            .filter(|p| p.error_code == OK);
        taken.for_each(|p| p.error_code = failed);
    }
    answer(request, &OffsetCommitResponse::default().with_topics(topics))
}

fn judge(node: &Node, topic: &str, asked: &OffsetCommitRequestPartition) -> Result<(), i16> {
    let known = node.topics.get(topic).is_some_and(|topic| {
        usize::try_from(asked.partition_index).is_ok_and(|index| index < topic.partitions.len())
    });
    if !known {
        return Err(ResponseError::UnknownTopicOrPartition.code());
    }
    let metadata = asked.committed_metadata.as_ref().map_or(0, |m| m.len());
    match metadata <= node.limits.commit_metadata {
        true => Ok(()),
        false => Err(ResponseError::OffsetMetadataTooLarge.code()),
    }
}

fn committed(asked: OffsetCommitRequestPartition) -> Committed {
    Committed {
        offset: asked.committed_offset,
        epoch: asked.committed_leader_epoch,
        metadata: asked
            .committed_metadata
            .map(|m| m.to_string())
            .unwrap_or_default(),
    }
}

/// Whether the positions are on disk.
async fn keep(node: &Node, group: &str, positions: Vec<(String, i32, Committed)>) -> bool {
    match node.groups.offsets.commit(group, positions) {
        Ok(None) => true,
        Ok(Some(synced)) => synced.await.unwrap_or(false),
        Err(_) => false,
    }
}

pub(in super::super) fn offset_fetch(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: OffsetFetchRequest = request.decode()?;
    if request.version < 8 {
        let wanted = asked.topics.map(|topics| {
            topics
                .into_iter()
                .map(|t| (t.name, t.partition_indexes))
                .collect()
        });
        let topics = find(node, &asked.group_id, wanted)
            .into_iter()
            .map(|(name, partitions)| {
                let partitions = partitions.into_iter().map(tell_one).collect();
                OffsetFetchResponseTopic::default()
                    .with_name(name)
                    .with_partitions(partitions)
            });
        let mut body = OffsetFetchResponse::default().with_topics(topics.collect());
        // The codec refuses an epoch in versions that have none.
        if request.version < 5 {
            body.topics
                .iter_mut()
                .flat_map(|t| &mut t.partitions)
                .for_each(|p| p.committed_leader_epoch = -1);
        }
        return answer(request, &body);
    }
    let groups = asked.groups.into_iter().map(|group| {
        let wanted = group.topics.map(|topics| {
            topics
                .into_iter()
                .map(|t| (t.name, t.partition_indexes))
                .collect()
        });
        let topics = find(node, &group.group_id, wanted)
            .into_iter()
            .map(|(name, partitions)| {
                let partitions = partitions.into_iter().map(tell_one_of_many).collect();
                OffsetFetchResponseTopics::default()
                    .with_name(name)
                    .with_partitions(partitions)
            });
        OffsetFetchResponseGroup::default()
            .with_topics(topics.collect())
            .with_group_id(group.group_id)
    });
    answer(
        request,
        &OffsetFetchResponse::default().with_groups(groups.collect()),
    )
}

/// The positions that are asked for; all of the group when nothing is named.
fn find(node: &Node, group: &GroupId, wanted: Option<Vec<(TopicName, Vec<i32>)>>) -> Vec<Found> {
    let offsets = &node.groups.offsets;
    if let Some(wanted) = wanted {
        let look_up = |(name, indexes): (TopicName, Vec<i32>)| {
            let positions = indexes
                .into_iter()
                .map(|index| (index, offsets.get(group, &name, index)))
                .collect();
            (name, positions)
        };
        return wanted.into_iter().map(look_up).collect();
    }
    let mut found: Vec<Found> = Vec::new();
    for (topic, index, committed) in offsets.all(group) {
        match found.last_mut().filter(|(name, _)| **name == *topic) {
            Some((_, partitions)) => partitions.push((index, Some(committed))),
            None => found.push((TopicName(text(topic)), vec![(index, Some(committed))])),
        }
    }
    found
}

fn tell_one((index, committed): (i32, Option<Committed>)) -> OffsetFetchResponsePartition {
    let told = OffsetFetchResponsePartition::default().with_partition_index(index);
    match committed {
        None => told
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(text(""))),
        Some(at) => told
            .with_committed_offset(at.offset)
            .with_committed_leader_epoch(at.epoch)
            .with_metadata(Some(text(at.metadata))),
    }
}

fn tell_one_of_many(found: (i32, Option<Committed>)) -> OffsetFetchResponsePartitions {
    let one = tell_one(found);
    OffsetFetchResponsePartitions::default()
        .with_partition_index(one.partition_index)
        .with_committed_offset(one.committed_offset)
        .with_committed_leader_epoch(one.committed_leader_epoch)
        .with_metadata(one.metadata)
}
