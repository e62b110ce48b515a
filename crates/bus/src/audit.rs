//! The audit log: events of a process on their way to the audit topic, summed where there are many.
//!
//! In: who was refused what, who did what. Out: one record per sum or deed, once a second, its key the tenant.
//! Always: to note an event never waits and never fails; what is held is bounded, and what could not be held or
//! sent is counted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use carillon_chassis::{
    clock::Clock,
    metrics::{Counter, Metrics},
    tasks::Tasks,
};
use carillon_schemas::{
    TenantId,
    audit::{self, AuditEntry, AuditKind},
    headers::{self, Headers},
};
use parking_lot::Mutex;
use tracing::warn;

use self::table::Table;
use crate::{Delivery, Outgoing, Producer};

mod table;

/// How often what was noted is sent.
const EVERY: Duration = Duration::from_secs(1);

/// A process's audit log. Cheap to clone. What is noted before [`Tasks::close`] is in the producer after it, so
/// that flushing the producer then is enough.
#[derive(Clone)]
pub struct AuditLog {
    shared: Arc<Shared>,
}

/// Something that has an entry of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// In whose trail.
    pub tenant: TenantId,
    /// What kind of event.
    pub kind: AuditKind,
    /// What was done: a word of a closed list.
    pub code: &'static str,
    /// Who did it: a token's subject.
    pub actor: Option<String>,
    /// What it is about: a notification's id, a job's.
    pub subject: Option<String>,
    /// In words; cut at 256 bytes.
    pub detail: Option<String>,
}

struct Shared {
    producer: Producer,
    topic: Arc<str>,
    node: String,
    clock: Clock,
    table: Mutex<Table>,
    written: Counter,
    lost: Counter,
}

impl AuditLog {
    /// Starts a log that writes to `topic` as `node`, through a producer that others may use, too.
    pub fn start(
        producer: Producer,
        topic: &str,
        node: &str,
        clock: Clock,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Self {
        let shared = Arc::new(Shared {
            producer,
            topic: Arc::from(topic),
            node: node.to_owned(),
            clock,
            table: Mutex::default(),
            written: metrics.counter(
                "carillon_bus_audit_written_total",
                "audit entries that Kafka acknowledged",
            ),
            lost: metrics.counter(
                "carillon_bus_audit_lost_total",
                "events that stand in no audit entry, because they could not be held or sent",
            ),
        });
        tasks.spawn("audit log", Arc::clone(&shared).run(tasks.clone()));
        Self { shared }
    }

    /// Notes an event that happens often: all of a tenant, kind and code within a second are one entry with their
    /// count. The code is of a closed list.
    pub fn count(&self, tenant: &TenantId, kind: AuditKind, code: &'static str) {
        let now_ms = self.shared.clock.unix_ms();
        let mut table = self.shared.table.lock();
        let held = table.count(tenant, kind, code, now_ms);
        self.shared.noted(table, held);
    }

    /// Notes an event that has an entry of its own. More than a thousand a second are counted like the frequent
    /// ones, without their particulars.
    pub fn note(&self, event: AuditEvent) {
        self.note_at(event, self.shared.clock.unix_ms());
    }

    /// The same for an event that was earlier, at a moment in Unix milliseconds.
    pub fn note_at(&self, event: AuditEvent, at_ms: u64) {
        let mut table = self.shared.table.lock();
        let held = table.note(event, at_ms);
        self.shared.noted(table, held);
    }
}

impl Shared {
    /// After the last flush nobody else would send it.
    fn noted(&self, table: parking_lot::MutexGuard<'_, Table>, held: bool) {
        let closed = table.closed;
        drop(table);
        if !held {
            self.lost.inc();
        }
        if closed {
            self.flush();
        }
    }

    /// Sends once a second what was noted meanwhile. While Kafka does not answer nothing more is sent, and what is
    /// noted adds up in the table.
    async fn run(self: Arc<Self>, tasks: Tasks) {
        loop {
            tokio::select! {
                () = tasks.shutdown().cancelled() => break,
                () = tokio::time::sleep(EVERY) => {}
            }
            let sent = self.flush();
            tokio::select! {
                () = tasks.shutdown().cancelled() => break,
                () = self.settle(sent) => {}
            }
        }
        self.table.lock().closed = true;
        self.flush();
    }

    /// Everything that is noted, into the producer; with how many events each record stands for.
    fn flush(&self) -> Vec<(u64, Delivery)> {
        let entries = self.table.lock().take(&self.node);
        let mut sent = Vec::with_capacity(entries.len());
        let mut lost = 0;
        for entry in entries {
            match self
                .record(&entry)
                .and_then(|record| self.producer.send(record).ok())
            {
                Some(delivery) => sent.push((entry.count, delivery)),
                None => lost += entry.count,
            }
        }
        self.lose(lost);
        sent
    }

    async fn settle(&self, sent: Vec<(u64, Delivery)>) {
        let mut lost = 0;
        for (count, delivery) in sent {
            match delivery.await {
                Ok(_) => self.written.inc(),
                Err(_) => lost += count,
            }
        }
        self.lose(lost);
    }

    fn lose(&self, events: u64) {
        if events > 0 {
            self.lost.inc_by(events);
            warn!(events, topic = %self.topic, "audit events lost");
        }
    }

    fn record(&self, entry: &AuditEntry) -> Option<Outgoing> {
        let value = serde_json::to_vec(entry).ok()?;
        let key = Bytes::copy_from_slice(entry.tenant_id.as_str().as_bytes());
        let mut headers = Headers::with_capacity(2);
        headers.set(headers::TENANT, key.clone());
        headers.set(headers::SCHEMA, Bytes::from_static(audit::SCHEMA.as_bytes()));
        Some(Outgoing {
            topic: Arc::clone(&self.topic),
            partition: None,
            key,
            value: value.into(),
            headers,
        })
    }
}
