//! The record of a delivery: its shard, key, headers and value.
//!
//! In: a notification, and what its dispatch says about itself. Out: the record for the deliveries topic.
//! Always: pure; the value holds the envelope's bytes as they were sealed.

use std::sync::Arc;

use bytes::Bytes;
use carillon_bus::Outgoing;
use carillon_schemas::{
    Stream,
    delivery::{self, FIRST_ATTEMPT, Repeat},
    envelope::Envelope,
    headers::{self, Headers},
    shard::shard,
};
use carillon_store::NewNotification;

use crate::poison::{Code, Poison};

/// No tenant is spread over several shards yet.
const BUCKETS: u16 = 1;

/// The deliveries topic and its number of shards.
pub(crate) struct Shards {
    pub(crate) topic: Arc<str>,
    pub(crate) count: u16,
}

impl Shards {
    /// The record that carries this notification to its shard.
    pub(crate) fn outgoing(
        &self,
        new: &NewNotification,
        trace: Option<&Bytes>,
        repeat: Repeat,
    ) -> Result<Outgoing, Poison> {
        let mut outgoing = self.repeat(&new.envelope, &new.bytes, &new.stream, repeat, trace)?;
        if new.redrive != 0 {
            let count = new.redrive.to_string();
            outgoing.headers.push_raw(headers::REDRIVE_COUNT, count);
        }
        Ok(outgoing)
    }

    /// The same, of any deliberate repeat.
    pub(crate) fn repeat(
        &self,
        envelope: &Envelope,
        bytes: &[u8],
        stream: &Stream,
        repeat: Repeat,
        trace: Option<&Bytes>,
    ) -> Result<Outgoing, Poison> {
        let tenant = &envelope.tenant_id;
        let value = delivery::seal(repeat, bytes)
            .map_err(|error| Poison::new(Code::NotAnEnvelope, error.to_string()))?;
        let key = Bytes::copy_from_slice(tenant.as_str().as_bytes());
        Ok(Outgoing {
            topic: Arc::clone(&self.topic),
            partition: Some(i32::from(shard(tenant, stream, self.count, BUCKETS))),
            headers: delivery_headers(envelope, repeat, trace, &key),
            key,
            value,
        })
    }
}

fn delivery_headers(envelope: &Envelope, repeat: Repeat, trace: Option<&Bytes>, tenant: &Bytes) -> Headers {
    let mut headers = Headers::with_capacity(8);
    let correlation = envelope.correlation_id.as_str();
    headers.push_raw(headers::TENANT, tenant.clone());
    headers.push_raw(headers::ID, envelope.notification_id.to_string());
    headers.push_raw(headers::SCHEMA, delivery::SCHEMA);
    headers.push_raw(
        headers::CORRELATION_ID,
        Bytes::copy_from_slice(correlation.as_bytes()),
    );
    match repeat.delivery {
        1 => headers.push_raw(headers::DELIVERY, "1"),
        n => headers.push_raw(headers::DELIVERY, n.to_string()),
    }
    if repeat.attempt != FIRST_ATTEMPT {
        headers.push_raw(headers::ATTEMPT, repeat.attempt.to_string());
    }
    if let Some(trace) = trace {
        headers.push_raw(headers::TRACEPARENT, trace.clone());
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{open::open, work::sample};

    #[test]
    fn a_delivery_carries_the_sealed_bytes_to_the_tenants_shard() {
        let mut new = open(&sample::record("acme", 5), &Arc::from("r1"), 0).unwrap();
        let shards = Shards {
            topic: Arc::from("deliveries"),
            count: 8,
        };
        let trace = Bytes::from("00-trace");
        let out = shards.outgoing(&new, Some(&trace), Repeat::FIRST).unwrap();
        let sealed = [&b"{\"delivery\":1,"[..], &new.bytes[1..]].concat();
        assert_eq!(out.value, sealed);
        assert_eq!(
            out.partition,
            Some(i32::from(shard(&new.envelope.tenant_id, &new.stream, 8, 1)))
        );
        assert_eq!(out.key, "acme");
        for (name, value) in [
            (headers::TENANT, "acme"),
            (headers::ID, "019a0000-0000-7000-8000-000000000005"),
            (headers::SCHEMA, "delivery/1"),
            (headers::CORRELATION_ID, "req-7"),
            (headers::DELIVERY, "1"),
            (headers::TRACEPARENT, "00-trace"),
        ] {
            assert_eq!(out.headers.text(name), Some(value), "{name}");
        }
        assert_eq!(out.headers.len(), 6);
        new.redrive = 2;
        let again = Repeat {
            delivery: 3,
            attempt: 2,
            replayed: false,
        };
        let out = shards.outgoing(&new, None, again).unwrap();
        assert!(out.value.starts_with(b"{\"delivery\":3,\"attempt\":2,"));
        for (name, value) in [
            (headers::DELIVERY, "3"),
            (headers::ATTEMPT, "2"),
            (headers::REDRIVE_COUNT, "2"),
        ] {
            assert_eq!(out.headers.text(name), Some(value), "{name}");
        }
    }
}
