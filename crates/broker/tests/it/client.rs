//! A client of one connection: requests encoded by the codec, answers decoded by it.
//!
//! In: a request and its version. Out: the answer. Always: every wait has a deadline.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        CreateTopicsRequest, FetchRequest, FetchResponse, InitProducerIdRequest, ListOffsetsRequest,
        ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
    records::{
        Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::stage::LONG;

pub(crate) struct Client {
    socket: TcpStream,
    correlation_id: i32,
}

pub(crate) fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// What a producer says of itself: id, epoch, first sequence.
pub(crate) const NOBODY: (i64, i16, i32) = (-1, -1, -1);

/// A batch of values, encoded as clients do.
pub(crate) fn batch(producer: (i64, i16, i32), timestamp: i64, codec: Compression, values: &[&str]) -> Bytes {
    let records: Vec<Record> = (0..)
        .zip(values)
        .map(|(at, value)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: producer.0,
            producer_epoch: producer.1,
            timestamp_type: TimestampType::Creation,
            offset: at,
            sequence: producer.2.wrapping_add(i32::try_from(at).unwrap()),
            timestamp: timestamp + at,
            key: None,
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Default::default(),
        })
        .collect();
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: codec,
    };
    RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.freeze()
}

/// Offsets, timestamps and values in a fetch answer.
pub(crate) fn records(data: &PartitionData) -> Vec<(i64, i64, String)> {
    let mut bytes = data.records.clone().unwrap_or_default();
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let set = RecordBatchDecoder::decode(&mut bytes).unwrap();
        all.extend(set.records.into_iter().map(|r| {
            (
                r.offset,
                r.timestamp,
                String::from_utf8(r.value.unwrap().to_vec()).unwrap(),
            )
        }));
    }
    all
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            socket: TcpStream::connect(address).await.unwrap(),
            correlation_id: 0,
        }
    }

    pub(crate) async fn send<R: Request>(&mut self, request: &R, version: i16) {
        self.correlation_id += 1;
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("test")));
        header.encode(&mut frame, R::header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = i32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.write(&frame).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // The broker may have closed the connection over the bytes before these.
        let _ = timeout(LONG, self.socket.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut frame = self.frame().await.expect("the broker closed the connection");
        ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
        R::Response::decode(&mut frame, version).unwrap()
    }

    /// The next frame; `None` when the broker closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let mut head = [0; 4];
        timeout(LONG, self.socket.read_exact(&mut head))
            .await
            .unwrap()
            .ok()?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(head)).unwrap()];
        timeout(LONG, self.socket.read_exact(&mut frame))
            .await
            .unwrap()
            .ok()?;
        Some(Bytes::from(frame))
    }

    pub(crate) async fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version).await;
        self.receive::<R>(version).await
    }

    pub(crate) async fn create(&mut self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> i16 {
        let configs = settings.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string((*name).to_owned()))
                .with_value(Some(StrBytes::from_string((*value).to_owned())))
        });
        let topic = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(5000);
        self.ask(&request, 4).await.topics[0].error_code
    }

    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> PartitionProduceResponse {
        self.send_produce(topic, partition, batch).await;
        self.receive_produced().await
    }

    pub(crate) async fn send_produce(&mut self, topic: &str, partition: i32, batch: Bytes) {
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(name(topic))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(5000)
            .with_topic_data(vec![topic]);
        self.send(&request, 7).await;
    }

    pub(crate) async fn receive_produced(&mut self) -> PartitionProduceResponse {
        let mut answer: ProduceResponse = self.receive::<ProduceRequest>(7).await;
        answer.responses.remove(0).partition_responses.remove(0)
    }

    /// Produces without a producer id and expects success; gives the offset.
    pub(crate) async fn put(&mut self, topic: &str, partition: i32, values: &[&str]) -> i64 {
        let told = self
            .produce(topic, partition, batch(NOBODY, 1_000, Compression::None, values))
            .await;
        assert_eq!(told.error_code, 0);
        told.base_offset
    }

    pub(crate) async fn send_fetch(&mut self, topic: &str, at: &[(i32, i64)], wait_ms: i32, min_bytes: i32) {
        let partitions = at.iter().map(|(partition, offset)| {
            FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(*offset)
                .with_partition_max_bytes(1024 * 1024)
        });
        let topic = FetchTopic::default()
            .with_topic(name(topic))
            .with_partitions(partitions.collect());
        let request = FetchRequest::default()
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(min_bytes)
            .with_max_bytes(50 * 1024 * 1024)
            .with_topics(vec![topic]);
        self.send(&request, 11).await;
    }

    pub(crate) async fn receive_fetched(&mut self) -> Vec<PartitionData> {
        let mut answer: FetchResponse = self.receive::<FetchRequest>(11).await;
        answer.responses.remove(0).partitions
    }

    pub(crate) async fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        self.send_fetch(topic, &[(partition, offset)], 0, 1).await;
        self.receive_fetched().await.remove(0)
    }

    /// All values of a partition from an offset on.
    pub(crate) async fn values(&mut self, topic: &str, partition: i32, mut offset: i64) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let data = self.fetch(topic, partition, offset).await;
            assert_eq!(data.error_code, 0);
            let got = records(&data);
            let Some((last, ..)) = got.last() else { return all };
            let from = offset;
            offset = last + 1;
            all.extend(
                got.into_iter()
                    .filter(|(at, ..)| *at >= from)
                    .map(|(_, _, value)| value),
            );
        }
    }

    /// Offset and time for -1 (end), -2 (start), -3 (greatest time) or a time.
    pub(crate) async fn offset(&mut self, topic: &str, partition: i32, timestamp: i64) -> (i64, i64) {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![asked]);
        let answer = self
            .ask(&ListOffsetsRequest::default().with_topics(vec![topic]), 7)
            .await;
        let told = &answer.topics[0].partitions[0];
        assert_eq!(told.error_code, 0);
        (told.offset, told.timestamp)
    }

    pub(crate) async fn producer_id(&mut self) -> i64 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(1000);
        let answer = self.ask(&request, 3).await;
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
        answer.producer_id.0
    }
}

/// Drops the frame's length: for tests that write frames by hand.
pub(crate) fn correlation_id(mut frame: Bytes) -> i32 {
    frame.get_i32()
}
