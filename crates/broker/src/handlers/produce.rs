//! Produce: records in.
//!
//! In: one batch per partition. Out: their offsets, once they are on disk. Always: a batch is checked before it
//! is kept and kept as it came, compressed or not; the answer waits, the connection's next request does not.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{
        InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse, ProducerId,
        TopicName,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};
use tokio::sync::oneshot;
use tracing::error;

use super::{Node, OK, answer, append_code, blocking};
use crate::{
    connection::{Answer, Peer},
    log::{
        Appended, Partition,
        batch::{BatchError, Header},
    },
    protocol::{Incoming, ProtocolError},
};

/// A produce request whose batches were appended and may not be on disk yet.
pub(crate) struct Pending {
    wants_answer: bool,
    topics: Vec<(TopicName, Vec<Kept>)>,
}

/// What became of one partition's batch.
struct Kept {
    partition: i32,
    outcome: Result<Appended, ResponseError>,
}

/// Appends a request's batches.
pub(crate) async fn append(peer: &Peer, request: &Incoming) -> Result<Pending, ProtocolError> {
    let asked: ProduceRequest = request.decode()?;
    let legal = matches!(asked.acks, -1..=1) && asked.transactional_id.is_none();
    let mut topics = Vec::with_capacity(asked.topic_data.len());
    for data in asked.topic_data {
        let topic = peer.node.topics.get(&data.name);
        let keep = |partition: i32, records: Option<Bytes>| {
            let known = topic
                .as_ref()
                .and_then(|t| t.partitions.get(usize::try_from(partition).ok()?));
            match known {
                _ if !legal => Err(ResponseError::InvalidRequest),
                None => Err(ResponseError::UnknownTopicOrPartition),
                Some(found) => append_one(found, records.unwrap_or_default()),
            }
        };
        let kept = data.partition_data.into_iter().map(|p| Kept {
            partition: p.index,
            outcome: keep(p.index, p.records),
        });
        topics.push((data.name, kept.collect()));
    }
    Ok(Pending {
        wants_answer: asked.acks != 0,
        topics,
    })
}

fn append_one(partition: &Arc<Partition>, records: Bytes) -> Result<Appended, ResponseError> {
    if records.len() as u64 > partition.settings().max_message_bytes() {
        return Err(ResponseError::MessageTooLarge);
    }
    let header = Header::check(&records).and_then(|header| header.acceptable().map(|()| header));
    let header = header.map_err(|error| match error {
        BatchError::Magic => ResponseError::UnsupportedForMessageFormat,
        BatchError::Checksum => ResponseError::CorruptMessage,
        BatchError::Length | BatchError::Attributes | BatchError::Counts => ResponseError::InvalidRecord,
    })?;
    partition
        .append(BytesMut::from(&records[..]), header)
        .map_err(|error| append_code(&error))
}

impl Pending {
    /// Waits until every batch is on disk or refused. May be dropped and called again.
    pub(crate) async fn settled(&mut self) {
        for appended in self.appended() {
            if let Some(receiver) = &mut appended.synced {
                let synced = receiver.await.unwrap_or(false);
                appended.settle(synced);
            }
        }
        self.refuse_lost();
    }

    /// Whether nothing is waited for any more.
    pub(crate) fn is_settled(&mut self) -> bool {
        for appended in self.appended() {
            match appended.synced.as_mut().map(oneshot::Receiver::try_recv) {
                None => {}
                Some(Ok(synced)) => appended.settle(synced),
                Some(Err(oneshot::error::TryRecvError::Closed)) => appended.settle(false),
                Some(Err(oneshot::error::TryRecvError::Empty)) => return false,
            }
        }
        self.refuse_lost();
        true
    }

    fn appended(&mut self) -> impl Iterator<Item = &mut Appended> {
        let kept = self.topics.iter_mut().flat_map(|(_, kept)| kept);
        kept.filter_map(|kept| kept.outcome.as_mut().ok())
    }

    fn refuse_lost(&mut self) {
        for kept in self.topics.iter_mut().flat_map(|(_, kept)| kept) {
            if kept.outcome.as_ref().is_ok_and(|appended| appended.lost) {
                kept.outcome = Err(ResponseError::KafkaStorageError);
            }
        }
    }

    /// The answer; `None` when the producer wants none.
    pub(crate) fn answer(self, request: &Incoming) -> Result<Option<Bytes>, ProtocolError> {
        if !self.wants_answer {
            return Ok(None);
        }
        let topics = self.topics.into_iter().map(|(name, kept)| {
            let partitions = kept.iter().map(tell).collect();
            TopicProduceResponse::default()
                .with_name(name)
                .with_partition_responses(partitions)
        });
        request
            .answer(&ProduceResponse::default().with_responses(topics.collect()))
            .map(Some)
    }
}

fn tell(kept: &Kept) -> PartitionProduceResponse {
    let told = PartitionProduceResponse::default().with_index(kept.partition);
    match &kept.outcome {
        Ok(appended) => told
            .with_error_code(OK)
            .with_base_offset(appended.base_offset)
            .with_log_append_time_ms(appended.append_time.unwrap_or(-1))
            .with_log_start_offset(0),
        Err(code) => told
            .with_error_code(code.code())
            .with_base_offset(-1)
            .with_log_append_time_ms(-1),
    }
}

/// Gives an idempotent producer its id. A producer that had one gets a new one: its sequences start again.
pub(super) async fn init_producer_id(node: &Node, request: &Incoming) -> Result<Answer, ProtocolError> {
    let asked: InitProducerIdRequest = request.decode()?;
    let refused = |code: ResponseError| {
        InitProducerIdResponse::default()
            .with_error_code(code.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    if asked.transactional_id.is_some() {
        return answer(request, &refused(ResponseError::UnsupportedVersion));
    }
    let ids = Arc::clone(&node.producer_ids);
    let body = match blocking(move || ids.next()).await {
        Some(Ok(id)) => InitProducerIdResponse::default()
            .with_error_code(OK)
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(0),
        Some(Err(error)) => {
            error!(error = %error, "producer id not given");
            refused(ResponseError::KafkaStorageError)
        }
        None => refused(ResponseError::UnknownServerError),
    };
    answer(request, &body)
}
