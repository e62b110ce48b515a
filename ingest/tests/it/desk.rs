//! A store that is what a test writes into it: dead letters, jobs, audit entries, one notification.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use carillon_schemas::{
    IdempotencyKey, NotificationId, Stream, TenantId,
    audit::{AuditEntry, AuditKind},
    cursor::Cursor,
    dead_letter::{DeadLetterId, DeadLetterRow, DeadLetterState, Job},
    envelope::Envelope,
    status::Status,
};
use carillon_store::{
    AuditQuery, AuditResult, Claim, ClaimOutcome, DeadLetter, DeadLettersQuery, DeadLettersResult,
    DeliveriesQuery, DeliveriesResult, Dispatched, Known, NewNotification, NotificationStore, PageCursor,
    RecentRow, StoreError,
};
use parking_lot::Mutex;
use uuid::Uuid;

/// What stands in it; everything is of the tenant `acme`.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) notification: Mutex<Option<(Envelope, Status)>>,
    pub(crate) rows: Mutex<Vec<DeadLetterRow>>,
    pub(crate) jobs: Mutex<Vec<Job>>,
    pub(crate) entries: Mutex<Vec<AuditEntry>>,
    /// What was asked for last.
    pub(crate) asked: Mutex<Option<DeadLettersQuery>>,
    pub(crate) asked_audit: Mutex<Option<AuditQuery>>,
}

/// A dead letter at this place.
pub(crate) fn row(id: DeadLetterId) -> DeadLetterRow {
    DeadLetterRow {
        id,
        at: 1_700_000_000_000,
        notification_id: None,
        channel: None,
        error_class: "permanent".to_owned(),
        error_code: "not_an_envelope".to_owned(),
        error_message: "expected value".to_owned(),
        origin: "carillon.notifications.v1/2/7".to_owned(),
        attempt: 1,
        redrive_count: 0,
        bytes: 2,
        state: DeadLetterState::Waiting,
        job_id: None,
    }
}

/// An audit entry.
pub(crate) fn entry(code: &str) -> AuditEntry {
    AuditEntry {
        id: Uuid::nil(),
        tenant_id: "acme".parse().unwrap(),
        at: 1_700_000_000_000,
        kind: AuditKind::Rejection,
        code: code.to_owned(),
        actor: None,
        node: "ingest".to_owned(),
        subject: None,
        count: 3,
        detail: None,
    }
}

fn is_acme(tenant: &TenantId) -> bool {
    tenant.as_str() == "acme"
}

fn next() -> Option<PageCursor> {
    Some(PageCursor {
        at_ms: 7,
        id: NotificationId::at(7, &[7; 10]),
    })
}

#[async_trait]
impl NotificationStore for Desk {
    async fn persist(&self, _: &[NewNotification]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn dispatched(&self, _: &[Dispatched]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn dead(&self, _: &[DeadLetter]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn notification(&self, tenant: &TenantId, id: NotificationId) -> Result<Option<Known>, StoreError> {
        let found = self.notification.lock().clone();
        let found = found.filter(|(e, _)| e.tenant_id == *tenant && e.notification_id == id);
        Ok(found.map(|(envelope, status)| Known {
            bytes: Bytes::from(envelope.to_json().unwrap()),
            envelope,
            status,
            first_delivered_at: None,
            acked_at: None,
            timeline: Vec::new(),
        }))
    }
    async fn statuses(
        &self,
        _: &TenantId,
        ids: &[NotificationId],
    ) -> Result<Vec<Option<Status>>, StoreError> {
        Ok(vec![None; ids.len()])
    }
    async fn dead_letters(
        &self,
        tenant: &TenantId,
        query: &DeadLettersQuery,
    ) -> Result<DeadLettersResult, StoreError> {
        assert!(is_acme(tenant));
        *self.asked.lock() = Some(query.clone());
        Ok(DeadLettersResult {
            rows: self.rows.lock().clone(),
            next: next(),
        })
    }
    async fn dead_letter(
        &self,
        tenant: &TenantId,
        id: DeadLetterId,
    ) -> Result<Option<DeadLetterRow>, StoreError> {
        assert!(is_acme(tenant));
        Ok(self.rows.lock().iter().find(|row| row.id == id).cloned())
    }
    async fn job(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Job>, StoreError> {
        assert!(is_acme(tenant));
        Ok(self.jobs.lock().iter().find(|job| job.id == id).cloned())
    }
    async fn audit_trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<AuditResult, StoreError> {
        assert!(is_acme(tenant));
        *self.asked_audit.lock() = Some(query.clone());
        Ok(AuditResult {
            entries: self.entries.lock().clone(),
            next: next(),
        })
    }
    async fn deliveries(&self, _: &TenantId, _: &DeliveriesQuery) -> Result<DeliveriesResult, StoreError> {
        Ok(DeliveriesResult {
            rows: Vec::new(),
            next: None,
        })
    }
    async fn recent(
        &self,
        _: &TenantId,
        _: &Stream,
        _: u32,
        _: Option<Cursor>,
    ) -> Result<Vec<RecentRow>, StoreError> {
        Ok(Vec::new())
    }
    async fn claim(&self, _: &TenantId, _: &IdempotencyKey, _: &Claim) -> Result<ClaimOutcome, StoreError> {
        Ok(ClaimOutcome::New)
    }
    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn close(&self) {}
}

/// A stage over a desk.
pub(crate) async fn stage() -> (crate::support::Stage, Arc<Desk>) {
    let desk = Arc::new(Desk::default());
    let store = Arc::clone(&desk);
    let stage = crate::support::Stage::with(|setting| setting.store = Some(store)).await;
    (stage, desk)
}
