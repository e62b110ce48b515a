//! Audit: what every role tells of itself becomes a tenant's trail.
//!
//! In: records of the audit topic. Out: entries in the store, then finished offsets. Always: an entry has an id
//! of its own, so that reading it twice leaves it once.

use std::sync::Arc;

use carillon_bus::Record;
use carillon_chassis::metrics::{Counter, CounterVec, Metrics};
use carillon_schemas::audit::AuditEntry;
use carillon_store::NotificationStore;
use tracing::error;

use crate::{
    RouterError,
    beside::{keep::keep, reader::Reader, value::Unreadable},
    hold::{Holds, Site},
};

/// Most entries of one write.
const ENTRIES: usize = 512;

/// The room.
pub(crate) struct Audit {
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) unreadable: Arc<Unreadable>,
    pub(crate) meters: Meters,
}

/// What is counted here.
pub(crate) struct Meters {
    entries: CounterVec,
    refused: Counter,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            entries: metrics.counter_vec(
                "carillon_router_audit_entries_total",
                "Entries kept in audit trails",
                &["kind"],
            ),
            refused: metrics.counter(
                "carillon_router_audit_refused_total",
                "Audit entries that the store refused and that were left behind",
            ),
        }
    }
}

impl Audit {
    /// Until the consumer ends. May be dropped at any time: what was not finished is read again.
    pub(crate) async fn run(&self, reader: &mut Reader) -> Result<(), RouterError> {
        loop {
            let records = reader.next().await?;
            self.keep(&records).await;
            reader.finish(&records);
        }
    }

    async fn keep(&self, records: &[Record]) {
        let entries: Vec<AuditEntry> = self.unreadable.read("audit", records);
        let write = |rows| self.store.audit(rows);
        for (entry, reason) in keep(&self.holds, Site::Audit, &entries, ENTRIES, write).await {
            self.meters.refused.inc();
            error!(tenant = %entry.tenant_id, id = %entry.id, error = reason, "the store refuses an audit entry, left behind");
        }
        for entry in &entries {
            self.meters
                .entries
                .with_label_values(&[entry.kind.as_str()])
                .inc();
        }
    }
}
