//! Records: what goes into Kafka and what comes out of it.
//!
//! In: a message of librdkafka. Out: owned bytes. Always: keys, values and header values are copied once,
//! into chunks that several records share.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use carillon_schemas::headers::Headers;

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// A record as it stands in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Where it stands in the partition.
    pub offset: i64,
    /// When it was written, Unix milliseconds.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, as they were written.
    pub headers: Headers,
}

impl Record {
    /// Bytes of its key and value.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The topic; it must exist.
    pub topic: Arc<str>,
    /// The partition, or by the key's murmur2 hash.
    pub partition: Option<i32>,
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The headers.
    pub headers: Headers,
}

/// Where an acknowledged record stands: on all in-sync replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
}

pub(crate) mod reading;
