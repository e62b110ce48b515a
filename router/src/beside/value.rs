//! Values of the topics beside the notifications: who they are of, and what they say.
//!
//! In: a record of receipts, audit or commands. Out: its value. Always: header, key and value name one tenant;
//! what cannot be read is counted, logged once a second at most, and left behind: it is ours, and no tenant's.

use std::time::Duration;

use carillon_bus::Record;
use carillon_chassis::metrics::{CounterVec, Metrics};
use carillon_schemas::{
    TenantId,
    audit::{self, AuditEntry},
    command::{self, Command},
    headers,
    receipt::{self, Receipts},
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::warn;

use crate::bind::bind;

/// How often an unreadable record is logged.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// A value that belongs to one tenant.
pub(crate) trait OfTenant: DeserializeOwned {
    /// The schema header's value.
    const SCHEMA: &'static str;
    /// Whose it is.
    fn tenant(&self) -> &TenantId;
}

impl OfTenant for Receipts {
    const SCHEMA: &'static str = receipt::SCHEMA;
    fn tenant(&self) -> &TenantId {
        &self.tenant_id
    }
}

impl OfTenant for AuditEntry {
    const SCHEMA: &'static str = audit::SCHEMA;
    fn tenant(&self) -> &TenantId {
        &self.tenant_id
    }
}

impl OfTenant for Command {
    const SCHEMA: &'static str = command::SCHEMA;
    fn tenant(&self) -> &TenantId {
        &self.tenant_id
    }
}

/// Reads a record; says in words why it cannot.
pub(crate) fn value<T: OfTenant>(record: &Record) -> Result<T, String> {
    let tenant = bind(record).map_err(|poison| poison.reason)?;
    let mut named = record.headers.iter().filter(|(name, _)| *name == headers::SCHEMA);
    if let Some((_, schema)) = named.next()
        && (schema != T::SCHEMA.as_bytes() || named.next().is_some())
    {
        return Err(format!("the header carillon-schema is not {}", T::SCHEMA));
    }
    let bytes = record.value.as_ref().ok_or("the record has no value")?;
    let value: T = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if *value.tenant() != tenant {
        return Err("the value names another tenant than the header".to_owned());
    }
    Ok(value)
}

/// Counts what cannot be read.
pub(crate) struct Unreadable {
    counted: CounterVec,
    logged: Mutex<Option<Instant>>,
}

impl Unreadable {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            counted: metrics.counter_vec(
                "carillon_router_unreadable_total",
                "Records of receipts, audit and commands that cannot be read and were left behind",
                &["topic"],
            ),
            logged: Mutex::new(None),
        }
    }

    /// The values that can be read; the others are counted as of `topic`.
    pub(crate) fn read<T: OfTenant>(&self, topic: &'static str, records: &[Record]) -> Vec<T> {
        let read = |record| {
            value(record)
                .map_err(|reason| self.tell(topic, record, &reason))
                .ok()
        };
        records.iter().filter_map(read).collect()
    }

    pub(crate) fn tell(&self, topic: &'static str, record: &Record, reason: &str) {
        self.counted.with_label_values(&[topic]).inc();
        let mut logged = self.logged.lock();
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *logged = Some(Instant::now());
            warn!(
                topic = %record.topic, partition = record.partition, offset = record.offset, error = reason,
                "a record beside the notifications cannot be read and is left behind"
            );
        }
    }
}

#[cfg(test)]
pub(crate) mod sample {
    use bytes::Bytes;
    use carillon_bus::Record;
    use carillon_schemas::headers::{self, Headers};
    use serde::Serialize;

    /// A record of a topic beside the notifications.
    pub(crate) fn record(tenant: &str, value: &impl Serialize) -> Record {
        let mut headers = Headers::default();
        headers.set(headers::TENANT, tenant.to_owned());
        Record {
            topic: "carillon.beside.v1".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: Some(Bytes::copy_from_slice(tenant.as_bytes())),
            value: Some(serde_json::to_vec(value).unwrap().into()),
            headers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn good() -> Receipts {
        Receipts {
            tenant_id: "acme".parse().unwrap(),
            node: "f1".to_owned(),
            entries: Vec::new(),
        }
    }

    #[test]
    fn what_header_key_and_value_agree_on_is_read() {
        let mut record = sample::record("acme", &good());
        assert_eq!(value::<Receipts>(&record), Ok(good()));
        record.headers.set(headers::SCHEMA, receipt::SCHEMA);
        assert_eq!(value::<Receipts>(&record), Ok(good()));
    }

    #[test]
    fn another_tenant_in_header_key_or_value_is_refused() {
        assert!(value::<Receipts>(&sample::record("globex", &good())).is_err());
        let mut key = sample::record("acme", &good());
        key.key = Some("globex".into());
        assert!(value::<Receipts>(&key).is_err());
        let mut header = sample::record("acme", &good());
        header.headers.push_raw(headers::TENANT, "acme");
        assert!(value::<Receipts>(&header).is_err());
    }

    #[test]
    fn what_is_no_value_of_this_schema_is_counted() {
        let metrics = Metrics::new();
        let unreadable = Unreadable::new(&metrics);
        let mut newer = sample::record("acme", &good());
        newer.headers.set(headers::SCHEMA, "receipts/2");
        let mut tombstone = sample::record("acme", &good());
        tombstone.value = None;
        let records = [newer, tombstone, sample::record("acme", &good())];
        assert_eq!(unreadable.read::<Receipts>("receipts", &records), [good()]);
        let text = metrics.render();
        assert!(
            text.contains("carillon_router_unreadable_total{topic=\"receipts\"} 2"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut record = sample::record("acme", &good());
            record.value = Some(bytes.into());
            let _ = value::<Receipts>(&record);
            let _ = value::<AuditEntry>(&record);
            let _ = value::<Command>(&record);
        }
    }
}
