//! Fetch: records out.
//!
//! In: offsets of many partitions. Out: their batches, as soon as there are enough or the wait is over. Always:
//! a partition without news costs two atomic loads; an answer's size is bounded, and large answers of all
//! connections together are.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        FetchRequest, FetchResponse, TopicName,
        fetch_request::FetchPartition,
        fetch_response::{FetchableTopicResponse, PartitionData},
    },
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::{OK, blocking, read_code};
use crate::{
    connection::{Answer, Peer},
    log::Partition,
    protocol::{Incoming, ProtocolError},
    stats::add,
};

/// Longest wait, whatever the client asks: a connection's end is noticed after it.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Answers up to this size are not counted: their sum is bounded by the number of connections.
const SMALL: usize = 64 * 1024;

/// One partition of the request.
struct Want {
    index: i32,
    offset: i64,
    max_bytes: usize,
    source: Result<Arc<Partition>, ResponseError>,
    records: Bytes,
}

pub(super) async fn fetch(peer: &Peer, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: FetchRequest = request.decode()?;
    let wait = Duration::from_millis(u64::try_from(asked.max_wait_ms).unwrap_or(0)).min(LONGEST_WAIT);
    let min_bytes = usize::try_from(asked.min_bytes).unwrap_or(0);
    let max_bytes = usize::try_from(asked.max_bytes)
        .unwrap_or(0)
        .min(peer.node.limits.fetch_bytes);
    let mut topics: Vec<(TopicName, Vec<Want>)> = Vec::with_capacity(asked.topics.len());
    for topic in asked.topics {
        let found = peer.node.topics.get(&topic.topic);
        let partitions = found.as_ref().map_or(&[][..], |t| &t.partitions);
        topics.push((
            topic.topic,
            topic.partitions.iter().map(|p| want(p, partitions)).collect(),
        ));
    }
    wait_for(peer, &topics, min_bytes, Instant::now() + wait).await;
    let memory = gather(peer, &mut topics, max_bytes).await;
    let sent: usize = topics
        .iter()
        .flat_map(|(_, wants)| wants)
        .map(|want| want.records.len())
        .sum();
    add(&peer.node.stats.bytes_fetched, sent as u64);
    let responses = topics.into_iter().map(|(name, wants)| {
        let partitions = wants.into_iter().map(tell).collect();
        FetchableTopicResponse::default()
            .with_topic(name)
            .with_partitions(partitions)
    });
    let body = FetchResponse::default().with_responses(responses.collect());
    Ok(Answer {
        frame: Some(request.answer(&body)?),
        memory,
    })
}

fn want(asked: &FetchPartition, partitions: &[Arc<Partition>]) -> Want {
    let found = usize::try_from(asked.partition)
        .ok()
        .and_then(|index| partitions.get(index));
    let admitted = found
        .ok_or(ResponseError::UnknownTopicOrPartition)
        .and_then(|partition| {
            partition
                .admits(asked.fetch_offset)
                .map_err(|error| read_code(&error))?;
            Ok(Arc::clone(partition))
        });
    Want {
        index: asked.partition,
        offset: asked.fetch_offset,
        max_bytes: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
        source: admitted,
        records: Bytes::new(),
    }
}

/// Returns when there is enough to read, something to complain about, or no time left.
async fn wait_for(peer: &Peer, topics: &[(TopicName, Vec<Want>)], min_bytes: usize, deadline: Instant) {
    let wants = || topics.iter().flat_map(|(_, wants)| wants);
    let mut waited = false;
    while !enough(wants(), min_bytes) && Instant::now() < deadline {
        wants()
            .filter_map(|w| w.source.as_ref().ok())
            .for_each(|p| p.watch(&peer.more));
        // What came between the look and the watch is not missed.
        if enough(wants(), min_bytes) {
            return;
        }
        if !std::mem::replace(&mut waited, true) {
            add(&peer.node.stats.fetches_waited, 1);
        }
        let _ = timeout_at(deadline, peer.more.notified()).await;
    }
}

fn enough<'a>(wants: impl Iterator<Item = &'a Want>, min_bytes: usize) -> bool {
    let mut bytes = 0;
    for want in wants {
        match &want.source {
            Ok(partition) if !partition.deleted() => bytes += partition.has(want.offset, min_bytes),
            _ => return true,
        }
        if bytes > 0 && bytes >= min_bytes {
            return true;
        }
    }
    min_bytes == 0
}

/// Fills in records: from memory first, then those on disk, on a blocking thread.
async fn gather(
    peer: &Peer,
    topics: &mut [(TopicName, Vec<Want>)],
    max_bytes: usize,
) -> Option<OwnedSemaphorePermit> {
    let mut taken = 0;
    let mut cold = Vec::new();
    for want in topics.iter_mut().flat_map(|(_, wants)| wants) {
        let Ok(partition) = &want.source else { continue };
        let room = want.max_bytes.min(max_bytes.saturating_sub(taken));
        match partition.read_tail(want.offset, room, taken == 0) {
            Some(records) => {
                taken += records.len();
                want.records = records;
            }
            None => cold.push(want),
        }
    }
    let on_disk: usize = cold.iter().map(|want| want.max_bytes).sum();
    let memory = reserve(peer, taken + on_disk.min(max_bytes.saturating_sub(taken))).await;
    read_cold(cold, taken, max_bytes).await;
    memory
}

/// Reads what is not in memory.
async fn read_cold(cold: Vec<&mut Want>, mut taken: usize, max_bytes: usize) {
    if cold.is_empty() {
        return;
    }
    let jobs: Vec<_> = cold
        .iter()
        .filter_map(|want| {
            Some((
                Arc::clone(want.source.as_ref().ok()?),
                want.offset,
                want.max_bytes,
            ))
        })
        .collect();
    let read = blocking(move || {
        let mut results = Vec::with_capacity(jobs.len());
        for (partition, offset, wanted) in jobs {
            let room = wanted.min(max_bytes.saturating_sub(taken));
            let result = match room == 0 && taken > 0 {
                true => Ok(Bytes::new()),
                false => partition.read_files(offset, room, taken == 0),
            };
            taken += result.as_ref().map_or(0, Bytes::len);
            results.push(result);
        }
        results
    });
    let results = read.await.unwrap_or_default();
    for (want, result) in cold.into_iter().zip(results) {
        match result {
            Ok(records) => want.records = records,
            Err(error) => want.source = Err(read_code(&error)),
        }
    }
}

async fn reserve(peer: &Peer, bytes: usize) -> Option<OwnedSemaphorePermit> {
    if bytes <= SMALL {
        return None;
    }
    let whole = peer.node.limits.answer_memory;
    let permits = u32::try_from(bytes.min(whole) / 1024).unwrap_or(u32::MAX);
    Arc::clone(&peer.node.answer_memory)
        .acquire_many_owned(permits)
        .await
        .ok()
}

fn tell(want: Want) -> PartitionData {
    let told = PartitionData::default()
        .with_partition_index(want.index)
        .with_records(Some(want.records));
    match want.source {
        Ok(partition) => {
            let end = partition.high_watermark();
            told.with_error_code(OK)
                .with_high_watermark(end)
                .with_last_stable_offset(end)
                .with_log_start_offset(partition.start_offset())
        }
        Err(code) => told.with_error_code(code.code()).with_high_watermark(-1),
    }
}
