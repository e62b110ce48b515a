//! What operators ask for: dead letters, jobs, audit trails, cancels.
//!
//! In: a tenant, ids, filters, requests. Out: the typed bodies of the contract.
//! Always: a job that is asked for runs on the server; what is answered here is how it stands.

use carillon_schemas::{
    NotificationId, TenantId,
    audit::{AuditKind, AuditPage},
    dead_letter::{
        DeadLetterId, DeadLetterState, DeadLetterView, DeadLettersPage, Job, JobKind, RedriveRequest,
        ReplayRequest,
    },
    http::Cancelling,
};
use serde::Serialize;
use uuid::Uuid;

use super::Api;
use crate::ClientError;

/// Which dead letters of a tenant, newest first.
#[derive(Debug, Clone, Default)]
pub struct DeadLetters {
    /// Rows of a page, 1 to 500; the server's 50 without it.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Only those of this class, or with this code.
    pub class: Option<String>,
    /// Only those in this state.
    pub state: Option<DeadLetterState>,
    /// Only those that became dead letters at or after this moment, Unix milliseconds.
    pub since_ms: Option<u64>,
    /// Only those that did so before this moment.
    pub until_ms: Option<u64>,
}

/// Which entries of a tenant's audit trail, newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditTrail {
    /// Entries of a page, 1 to 500; the server's 50 without it.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Only of this kind.
    pub kind: Option<AuditKind>,
    /// Only at or after this moment, Unix milliseconds.
    pub since_ms: Option<u64>,
    /// Only before this moment.
    pub until_ms: Option<u64>,
}

impl Api {
    /// Asks that a scheduled notification is not delivered. Whether the cancel came in time, the notification's
    /// state says.
    ///
    /// # Errors
    /// `not_found`, and `not_cancellable` when it is not scheduled or due at once.
    pub async fn cancel(&self, id: NotificationId) -> Result<Cancelling, ClientError> {
        let request = self.http.delete(&["v1", "notifications", &id.to_string()]);
        self.http.exchange(request).await?.value()
    }

    /// One page of a tenant's dead letters.
    ///
    /// # Errors
    /// [`ClientError::Problem`] when the server refuses.
    pub async fn dead_letters(
        &self,
        tenant: &TenantId,
        which: &DeadLetters,
    ) -> Result<DeadLettersPage, ClientError> {
        let query = [
            ("limit", text(which.limit)),
            ("cursor", which.cursor.clone()),
            ("class", which.class.clone()),
            ("state", text(which.state.map(DeadLetterState::as_str))),
            ("since", text(which.since_ms)),
            ("until", text(which.until_ms)),
        ];
        self.page(&["v1", "tenants", tenant.as_str(), "dead-letters"], query)
            .await
    }

    /// One dead letter, with its record where the topic still has it.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn dead_letter(
        &self,
        tenant: &TenantId,
        id: DeadLetterId,
    ) -> Result<DeadLetterView, ClientError> {
        let id = id.to_string();
        let segments = ["v1", "tenants", tenant.as_str(), "dead-letters", &id];
        self.http.exchange(self.http.get(&segments)).await?.value()
    }

    /// Asks that dead letters are put back in. The same `redrive_id` twice has no second effect.
    ///
    /// # Errors
    /// [`ClientError::Problem`] when the server refuses.
    pub async fn redrive(&self, tenant: &TenantId, which: &RedriveRequest) -> Result<Job, ClientError> {
        self.order(tenant, &["dead-letters", "redrive"], which).await
    }

    /// Asks that dead letters are thrown away. The same `redrive_id` twice has no second effect.
    ///
    /// # Errors
    /// [`ClientError::Problem`] when the server refuses.
    pub async fn discard(&self, tenant: &TenantId, which: &RedriveRequest) -> Result<Job, ClientError> {
        self.order(tenant, &["dead-letters", "discard"], which).await
    }

    /// Asks that stored notifications are dispatched again. The same `replay_id` twice has no second effect.
    ///
    /// # Errors
    /// [`ClientError::Problem`] when the server refuses.
    pub async fn replay(&self, tenant: &TenantId, which: &ReplayRequest) -> Result<Job, ClientError> {
        self.order(tenant, &["replays"], which).await
    }

    /// How a job stands.
    ///
    /// # Errors
    /// `not_found`, and `not_yet_visible` while no router has taken a fresh one.
    pub async fn job(&self, tenant: &TenantId, kind: JobKind, id: Uuid) -> Result<Job, ClientError> {
        let route = match kind {
            JobKind::Redrive | JobKind::Discard => "redrives",
            JobKind::Replay => "replays",
        };
        let id = id.to_string();
        let segments = ["v1", "tenants", tenant.as_str(), route, &id];
        self.http.exchange(self.http.get(&segments)).await?.value()
    }

    /// One page of a tenant's audit trail.
    ///
    /// # Errors
    /// [`ClientError::Problem`] when the server refuses.
    pub async fn audit(&self, tenant: &TenantId, which: &AuditTrail) -> Result<AuditPage, ClientError> {
        let query = [
            ("limit", text(which.limit)),
            ("cursor", which.cursor.clone()),
            ("kind", text(which.kind.map(AuditKind::as_str))),
            ("since", text(which.since_ms)),
            ("until", text(which.until_ms)),
        ];
        self.page(&["v1", "tenants", tenant.as_str(), "audit"], query)
            .await
    }

    async fn order(
        &self,
        tenant: &TenantId,
        route: &[&str],
        body: &impl Serialize,
    ) -> Result<Job, ClientError> {
        let segments = [&["v1", "tenants", tenant.as_str()], route].concat();
        let body = serde_json::to_vec(body)?;
        let request = self.http.post(&segments);
        let request = request.header("Content-Type", "application/json").body(body);
        self.http.exchange(request).await?.value()
    }
}

fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}
