//! The store, as this room asks it: with a deadline, and with its failures turned into refusals.
//!
//! In: questions of one tenant. Out: answers, or [`Refusal::Unavailable`] with the cause for the log.
//! Always: no question outlasts its request; every answer and failure is told to readiness.

use std::{future::Future, sync::Arc, time::Duration};

use carillon_schemas::{
    IdempotencyKey, NotificationId, Stream, TenantId,
    dead_letter::{DeadLetterId, DeadLetterRow, Job},
};
use carillon_store::{
    AuditQuery, AuditResult, Claim, ClaimOutcome, DeadLettersQuery, DeadLettersResult, DeliveriesQuery,
    DeliveriesResult, Known, NotificationStore, RecentRow, StoreError,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    ready::Health,
    refusal::{Dependency, Refusal},
};

/// A store with a deadline. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<dyn NotificationStore>,
    health: Arc<Health>,
    deadline: Duration,
}

impl Store {
    pub(crate) fn new(inner: Arc<dyn NotificationStore>, deadline: Duration) -> Self {
        Self {
            inner,
            health: Arc::default(),
            deadline,
        }
    }

    pub(crate) async fn claim(
        &self,
        tenant: &TenantId,
        key: &IdempotencyKey,
        claim: &Claim,
        until: Instant,
    ) -> Result<ClaimOutcome, Refusal> {
        self.ask(self.inner.claim(tenant, key, claim), until).await
    }

    pub(crate) async fn notification(
        &self,
        tenant: &TenantId,
        id: NotificationId,
        until: Instant,
    ) -> Result<Option<Known>, Refusal> {
        self.ask(self.inner.notification(tenant, id), until).await
    }

    pub(crate) async fn deliveries(
        &self,
        tenant: &TenantId,
        query: &DeliveriesQuery,
        until: Instant,
    ) -> Result<DeliveriesResult, Refusal> {
        self.ask(self.inner.deliveries(tenant, query), until).await
    }

    pub(crate) async fn recent(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        n: u32,
        until: Instant,
    ) -> Result<Vec<RecentRow>, Refusal> {
        self.ask(self.inner.recent(tenant, stream, n, None), until).await
    }

    pub(crate) async fn dead_letters(
        &self,
        tenant: &TenantId,
        query: &DeadLettersQuery,
        until: Instant,
    ) -> Result<DeadLettersResult, Refusal> {
        self.ask(self.inner.dead_letters(tenant, query), until).await
    }

    pub(crate) async fn dead_letter(
        &self,
        tenant: &TenantId,
        id: DeadLetterId,
        until: Instant,
    ) -> Result<Option<DeadLetterRow>, Refusal> {
        self.ask(self.inner.dead_letter(tenant, id), until).await
    }

    pub(crate) async fn job(
        &self,
        tenant: &TenantId,
        id: Uuid,
        until: Instant,
    ) -> Result<Option<Job>, Refusal> {
        self.ask(self.inner.job(tenant, id), until).await
    }

    pub(crate) async fn audit_trail(
        &self,
        tenant: &TenantId,
        query: &AuditQuery,
        until: Instant,
    ) -> Result<AuditResult, Refusal> {
        self.ask(self.inner.audit_trail(tenant, query), until).await
    }

    /// Whether it does its part now; otherwise what is wrong.
    pub(crate) async fn probe(&self) -> Result<(), String> {
        let answer = tokio::time::timeout(self.deadline, self.inner.ping()).await;
        answer.map_err(|_| LATE.to_owned())?.map_err(|e| e.to_string())?;
        self.health.trouble().map_or(Ok(()), Err)
    }

    async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
        until: Instant,
    ) -> Result<T, Refusal> {
        let until = until.min(Instant::now() + self.deadline);
        let cause = match tokio::time::timeout_at(until, question).await {
            Ok(Ok(answer)) => {
                self.health.worked();
                return Ok(answer);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => LATE.to_owned(),
        };
        self.health.failed(&cause);
        Err(Refusal::Unavailable(Dependency::Store, cause))
    }
}

const LATE: &str = "the store did not answer in time";
