//! The router's own entries in audit trails.
//!
//! In: dead letters, cancels, what jobs did. Out: dead letters summed per tenant, code and second on the audit
//! topic; deeds straight in the store. Always: a deed's id follows from what was done, so that a command that is
//! read again after a crash leaves its entry once; a deed is in the store before its command is let go.

use std::{sync::Arc, time::Duration};

use carillon_bus::{BusConfig, Producer, audit::AuditLog};
use carillon_chassis::{clock::Clock, metrics::Metrics, tasks::Tasks};
use carillon_schemas::{
    TenantId,
    audit::{AuditEntry, AuditKind},
};
use tracing::warn;
use uuid::Uuid;

use crate::poison::Code;

/// Longest detail in bytes.
const DETAIL_BYTES: usize = 256;
/// How long the last entries may take: with Kafka away, no longer than this is waited for them.
const CLOSE: Duration = Duration::from_secs(2);

/// The room.
pub(crate) struct Trail {
    log: AuditLog,
    /// Of the log alone, so that it ends when the router has.
    tasks: Tasks,
    producer: Producer,
    pub(crate) node: Arc<str>,
}

/// Something that was done on request.
pub(crate) struct Deed<'a> {
    pub(crate) tenant: &'a TenantId,
    /// The command or the job.
    pub(crate) of: Uuid,
    /// When, Unix milliseconds: the same however often it is told.
    pub(crate) at_ms: u64,
    pub(crate) kind: AuditKind,
    /// What was done: a word of a closed list, told once per command or job.
    pub(crate) code: &'static str,
    pub(crate) actor: Option<&'a str>,
    /// What it is about.
    pub(crate) subject: String,
    pub(crate) detail: String,
}

impl Trail {
    pub(crate) fn start(
        bus: &BusConfig,
        producer: &Producer,
        node: &Arc<str>,
        clock: Clock,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Self {
        let own = tasks.child();
        Self {
            log: AuditLog::start(producer.clone(), &bus.topics.audit, node, clock, metrics, &own),
            tasks: own,
            producer: producer.clone(),
            node: Arc::clone(node),
        }
    }

    /// Sends what was noted. To be called when nothing is noted any more.
    pub(crate) async fn close(&self) {
        let late = self.tasks.close(CLOSE).await;
        if let Err(error) = self.producer.flush(CLOSE).await {
            warn!(error = %error, late = late.len(), "entries of the audit trail were not sent");
        }
    }

    /// A record became a dead letter. Never waits.
    pub(crate) fn dead_letter(&self, tenant: &TenantId, code: Code) {
        self.log.count(tenant, AuditKind::DeadLetter, code.as_str());
    }

    /// The entry of a deed.
    pub(crate) fn entry(&self, deed: Deed<'_>) -> AuditEntry {
        let mut detail = deed.detail;
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES));
        AuditEntry {
            id: Uuid::new_v5(&deed.of, deed.code.as_bytes()),
            tenant_id: deed.tenant.clone(),
            at: deed.at_ms,
            kind: deed.kind,
            code: deed.code.to_owned(),
            actor: deed.actor.map(str::to_owned),
            node: self.node.to_string(),
            subject: Some(deed.subject),
            count: 1,
            detail: Some(detail).filter(|text| !text.is_empty()),
        }
    }
}
