//! Reading: a message of librdkafka becomes a record of ours.
//!
//! In: borrowed messages. Out: owned records. Always: the bytes are copied once, into chunks that
//! neighbouring records share; a header that cannot be read is left out and counted, it never panics.

use std::{
    borrow::Cow,
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use carillon_schemas::headers::{self, Headers};
use rdkafka::{
    Message,
    message::{BorrowedHeaders, BorrowedMessage, Headers as _},
};

use crate::Record;

/// Small enough that one record kept for long does not hold much, large enough for dozens of records.
const CHUNK: usize = 16 * 1024;

/// Names of headers that need no copy.
const KNOWN: [&str; 17] = [
    headers::TENANT,
    headers::ID,
    headers::SCHEMA,
    headers::ORIGIN,
    headers::FIRST_SEEN,
    headers::ATTEMPT,
    headers::HOPS,
    headers::ERROR_CLASS,
    headers::ERROR_CODE,
    headers::ERROR_MESSAGE,
    headers::DELIVERY,
    headers::REPUBLISHED,
    headers::CORRELATION_ID,
    headers::TRACEPARENT,
    headers::DLT_TOPIC,
    headers::DLT_PARTITION,
    headers::DLT_OFFSET,
];

/// Copies messages out of librdkafka; one per poll thread.
#[derive(Default)]
pub(crate) struct Reading {
    chunk: BytesMut,
    topics: HashSet<Arc<str>>,
    /// Headers that were left out so far.
    pub(crate) unreadable: u64,
}

impl Reading {
    pub(crate) fn record(&mut self, message: &BorrowedMessage<'_>) -> Record {
        Record {
            topic: self.topic(message.topic()),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(|key| self.copy(key)),
            value: message.payload().map(|value| self.copy(value)),
            headers: message.headers().map(|h| self.headers(h)).unwrap_or_default(),
        }
    }

    /// The shared name of a topic.
    pub(crate) fn topic(&mut self, name: &str) -> Arc<str> {
        if let Some(topic) = self.topics.get(name) {
            return Arc::clone(topic);
        }
        let topic: Arc<str> = name.into();
        self.topics.insert(Arc::clone(&topic));
        topic
    }

    fn headers(&mut self, wire: &BorrowedHeaders) -> Headers {
        let mut headers = Headers::with_capacity(wire.count());
        for index in 0..wire.count() {
            // The binding panics on a name that is not UTF-8, which any producer can write.
            match catch_unwind(AssertUnwindSafe(|| wire.get(index))) {
                Ok(header) => headers.push_raw(name(header.key), self.copy(header.value.unwrap_or_default())),
                Err(_) => self.unreadable += 1,
            }
        }
        headers
    }

    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.is_empty() {
            return Bytes::new();
        }
        if bytes.len() > CHUNK / 4 {
            return Bytes::copy_from_slice(bytes);
        }
        if self.chunk.capacity() < bytes.len() {
            self.chunk = BytesMut::with_capacity(CHUNK);
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.split().freeze()
    }
}

fn name(name: &str) -> Cow<'static, str> {
    match KNOWN.iter().find(|known| **known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_owned()),
    }
}
