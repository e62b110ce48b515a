//! Offsets: where logs begin and end, and what stood there at a time.
//!
//! In: partitions and times. Out: offsets. Always: the end is the high watermark; times are looked up on a
//! blocking thread.

use std::sync::Arc;

use kafka_protocol::{
    ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use super::{Node, OK, answer, blocking, read_code};
use crate::{
    connection::Answer,
    log::Partition,
    protocol::{Incoming, ProtocolError},
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const GREATEST_TIME: i64 = -3;

pub(super) async fn list_offsets(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: ListOffsetsRequest = request.decode()?;
    let mut topics = Vec::with_capacity(asked.topics.len());
    for topic in asked.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let found = partition(node, &topic.name, asked.partition_index);
            let told = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            partitions.push(match look_up(found, asked.timestamp).await {
                Ok((offset, timestamp)) => told
                    .with_error_code(OK)
                    .with_offset(offset)
                    .with_timestamp(timestamp)
                    .with_leader_epoch(0),
                Err(code) => told
                    .with_error_code(code.code())
                    .with_offset(-1)
                    .with_timestamp(-1),
            });
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    // The codec refuses an epoch in versions that have none.
    if request.version < 4 {
        topics
            .iter_mut()
            .flat_map(|t| &mut t.partitions)
            .for_each(|p| p.leader_epoch = -1);
    }
    answer(request, &ListOffsetsResponse::default().with_topics(topics))
}

/// An offset and the time of the record there, -1 when there is none.
async fn look_up(found: Option<Arc<Partition>>, timestamp: i64) -> Result<(i64, i64), ResponseError> {
    let partition = found.ok_or(ResponseError::UnknownTopicOrPartition)?;
    match timestamp {
        LATEST => Ok((partition.high_watermark(), -1)),
        EARLIEST => Ok((partition.start_offset(), -1)),
        GREATEST_TIME => Ok(blocking(move || partition.newest())
            .await
            .flatten()
            .unwrap_or((-1, -1))),
        other if other < 0 => Err(ResponseError::InvalidRequest),
        time => {
            let found = blocking(move || partition.offset_at(time)).await;
            let found = found
                .ok_or(ResponseError::UnknownServerError)?
                .map_err(|error| read_code(&error))?;
            Ok(found.unwrap_or((-1, -1)))
        }
    }
}

/// There is one epoch, 0, and it ends where the log ends.
pub(super) fn offset_for_leader_epoch(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: OffsetForLeaderEpochRequest = request.decode()?;
    let topics = asked.topics.into_iter().map(|topic| {
        let ends = topic.partitions.iter().map(|asked| {
            let told = EpochEndOffset::default().with_partition(asked.partition);
            match partition(node, &topic.topic, asked.partition) {
                Some(found) => told.with_leader_epoch(0).with_end_offset(found.high_watermark()),
                None => told.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
            }
        });
        let partitions = ends.collect();
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic)
            .with_partitions(partitions)
    });
    answer(
        request,
        &OffsetForLeaderEpochResponse::default().with_topics(topics.collect()),
    )
}

fn partition(node: &Node, topic: &str, index: i32) -> Option<Arc<Partition>> {
    let topic = node.topics.get(topic)?;
    topic.partitions.get(usize::try_from(index).ok()?).cloned()
}
