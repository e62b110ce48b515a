//! Record headers: routing facts beside the envelope's bytes.
//!
//! In: names and bytes. Out: single-valued access. Always: a header is replaced, never appended;
//! what a record carries twice counts as absent for us, because nobody can say which one is meant.

use std::borrow::Cow;

use bytes::Bytes;

/// The tenant; must equal the envelope's.
pub const TENANT: &str = "carillon-tenant";
/// The notification's id.
pub const ID: &str = "carillon-id";
/// Name and version of the value's schema, such as `envelope/1`.
pub const SCHEMA: &str = "carillon-schema";
/// `topic/partition/offset` where the record first stood; written once.
pub const ORIGIN: &str = "carillon-origin";
/// When it was first handled, Unix milliseconds.
pub const FIRST_SEEN: &str = "carillon-first-seen";
/// Which attempt, from 1.
pub const ATTEMPT: &str = "carillon-attempt";
/// How often the record was moved between topics.
pub const HOPS: &str = "carillon-hops";
/// The class of the failure that moved the record.
pub const ERROR_CLASS: &str = "carillon-error-class";
/// The code of that failure.
pub const ERROR_CODE: &str = "carillon-error-code";
/// That failure in words.
pub const ERROR_MESSAGE: &str = "carillon-error-message";
/// Not to be handled before this moment, Unix milliseconds: when a record on the ladder is due.
pub const NOT_BEFORE: &str = "carillon-not-before";
/// Set on a record of the ladder that asks whether its notification was acknowledged meanwhile.
pub const CHECK: &str = "carillon-check";
/// The job that put a dead letter back in.
pub const REDRIVE_ID: &str = "carillon-redrive-id";
/// How often the record was put back in from the dead letters.
pub const REDRIVE_COUNT: &str = "carillon-redrive-count";
/// Which deliberate repeat this is, from 1; on other topics than deliveries, the last one that was made.
pub const DELIVERY: &str = "carillon-delivery";
/// Set when an idempotent submit was published again.
pub const REPUBLISHED: &str = "carillon-republished";
/// The correlation id.
pub const CORRELATION_ID: &str = "correlation-id";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Spring's name of the topic that a dead letter came from.
pub const DLT_TOPIC: &str = "kafka_dlt-original-topic";
/// Spring's name of its partition (4 bytes, big-endian).
pub const DLT_PARTITION: &str = "kafka_dlt-original-partition";
/// Spring's name of its offset (8 bytes, big-endian).
pub const DLT_OFFSET: &str = "kafka_dlt-original-offset";

/// The headers of one record, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, Bytes)>);

impl Headers {
    /// No headers, room for `n`.
    pub fn with_capacity(n: usize) -> Self {
        Self(Vec::with_capacity(n))
    }

    /// The value, if the name stands exactly once.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        let mut found = self.0.iter().filter(|(n, _)| n == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// The value as UTF-8 text, if the name stands exactly once.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Sets a header, replacing every earlier one of that name.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        let name = name.into();
        self.0.retain(|(n, _)| *n != name);
        self.0.push((name, value.into()));
    }

    /// Takes every header of this name out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| n != name);
    }

    /// Adds what came off the wire, keeping duplicates as they are.
    pub fn push_raw(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(n, v)| (n.as_ref(), v))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_replaced_and_a_doubled_one_counts_as_absent() {
        let mut headers = Headers::default();
        headers.set(ATTEMPT, "1");
        headers.set(ATTEMPT, "2");
        assert_eq!((headers.len(), headers.text(ATTEMPT)), (1, Some("2")));
        headers.push_raw(ATTEMPT, "3");
        assert_eq!(headers.get(ATTEMPT), None);
        headers.set(ATTEMPT, "4");
        assert_eq!((headers.len(), headers.text(ATTEMPT)), (1, Some("4")));
        headers.push_raw(ATTEMPT, "5");
        headers.remove(ATTEMPT);
        assert!(headers.is_empty());
    }
}
