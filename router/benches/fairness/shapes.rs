//! The shapes of a noisy neighbour, and the records of a quiet one.
//!
//! In: a shape and a number. Out: a record. Always: the aggressor's records stand on the same partition as those of
//! the victim that is beside it.

use std::sync::Arc;

use bytes::Bytes;
use carillon_bus::{BusConfig, Outgoing};
use carillon_schemas::headers::{self, Headers};

pub(crate) const AGGRESSOR: &str = "aggressor";
/// The channel on which nothing of the aggressor is small enough.
pub(crate) const LIMITED: &str = "limited";
/// Victims, with the partition that they are on. The first shares the aggressor's.
pub(crate) const VICTIMS: [(&str, i32); 2] = [("victim-beside", 0), ("victim-elsewhere", 1)];

/// What the aggressor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Flood,
    HugePayloads,
    AllFailing,
    ManyChannels,
    RetryStorm,
}

impl Shape {
    pub(crate) const ALL: [Self; 5] = [
        Self::Flood,
        Self::HugePayloads,
        Self::AllFailing,
        Self::ManyChannels,
        Self::RetryStorm,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::HugePayloads => "huge payloads",
            Self::AllFailing => "all failing",
            Self::ManyChannels => "many channels",
            Self::RetryStorm => "retry storm",
        }
    }

    /// How many records, of `count` small ones.
    pub(crate) fn records(self, count: u64) -> u64 {
        match self {
            Self::Flood | Self::ManyChannels => count,
            Self::AllFailing => count / 2,
            Self::RetryStorm => count / 4,
            Self::HugePayloads => count / 60,
        }
    }

    /// One of them. `now_ms` is the time of day.
    pub(crate) fn record(self, bus: &BusConfig, n: u64, now_ms: u64) -> Outgoing {
        let (channel, content) = match self {
            Self::HugePayloads => ("alerts".to_owned(), "x".repeat(30_000)),
            Self::AllFailing => (LIMITED.to_owned(), "x".repeat(120)),
            Self::ManyChannels => (format!("c{}", n % 10_000), "x".repeat(120)),
            Self::Flood | Self::RetryStorm => ("alerts".to_owned(), "x".repeat(120)),
        };
        let id = format!("019a0000-0000-7000-8{:03x}-{n:012x}", self as u8);
        let mut record = record(&bus.topics.notifications, 0, AGGRESSOR, &id, &channel, &content);
        if self == Self::RetryStorm {
            record.topic = bus.topics.retry[0].name.as_str().into();
            record.partition = Some((n % 6) as i32);
            for (name, value) in [
                (headers::ATTEMPT, 1),
                (headers::HOPS, 1),
                (headers::REDRIVE_COUNT, 0),
                (headers::DELIVERY, 0),
                (headers::FIRST_SEEN, now_ms),
                (headers::NOT_BEFORE, now_ms + 5_000),
            ] {
                record.headers.set(name, value.to_string());
            }
        }
        record
    }
}

/// A record of a victim; its content says when it was to be sent, in microseconds of the run.
pub(crate) fn quiet(topic: &str, victim: usize, n: u64, at_us: u64) -> Outgoing {
    let (tenant, partition) = VICTIMS[victim];
    let id = format!("019b0000-0000-7000-9{victim:03x}-{n:012x}");
    let content = at_us.to_string();
    record(topic, partition, tenant, &id, "alerts", &content)
}

/// When the delivery of a victim's record was to be sent.
pub(crate) fn sent_at(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.split("\"content\":\"")
        .nth(1)?
        .split('"')
        .next()?
        .parse()
        .ok()
}

fn record(topic: &str, partition: i32, tenant: &str, id: &str, channel: &str, content: &str) -> Outgoing {
    let value = format!(
        r#"{{"notification_id":"{id}","tenant_id":"{tenant}","channel":"{channel}","correlation_id":"r","accepted_at":1760000000123,"content":"{content}"}}"#
    );
    let mut headers = Headers::with_capacity(8);
    headers.push_raw(headers::TENANT, tenant.to_owned());
    headers.push_raw(headers::ID, id.to_owned());
    Outgoing {
        topic: Arc::from(topic),
        partition: Some(partition),
        key: Bytes::from(tenant.to_owned()),
        value: Bytes::from(value),
        headers,
    }
}
