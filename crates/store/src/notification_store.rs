//! The trait that every store implements, with the promises that the conformance suite checks.
//!
//! In: batches of facts, and questions of one tenant. Out: answers to that tenant.
//! Always: see [`NotificationStore`].

use async_trait::async_trait;
use carillon_schemas::{
    CollapseKey, IdempotencyKey, NotificationId, Stream, TenantId,
    audit::AuditEntry,
    cursor::Cursor,
    dead_letter::{DeadLetterId, DeadLetterRow, Job},
};
use uuid::Uuid;

use crate::{
    AuditQuery, AuditResult, Claim, ClaimOutcome, DeadLetter, DeadLetterMark, DeadLettersQuery,
    DeadLettersResult, DeliveriesQuery, DeliveriesResult, Dispatched, Due, Fact, Head, Known,
    NewNotification, RecentRow, Scheduled, StoreError, StoredQuery, StoredResult,
};

/// What was accepted and what became of it.
///
/// Promises, each checked by the conformance suite:
///
/// - **Durable:** when a write has answered `Ok`, it survives the death of the process; how much more it
///   survives is the implementation's `fsync` setting.
/// - **All or nothing:** a batch that answers an error may be repeated whole. [`StoreError::Refused`] means
///   that it never will work; every other error is of the store, not of the batch.
/// - **Order does not matter:** facts may arrive in any order and any number of times (`dispatched` before
///   `persist`, everything twice); what is read afterwards is the same. The state is the fact with the
///   highest [`Stamp`](carillon_schemas::status::Stamp); of a fact told twice the earlier time stays; of two
///   payloads for one id the first stays.
/// - **Tenants:** nothing of one tenant stands in any answer to another, even where ids, streams or keys
///   are equal.
/// - **Read your writes:** a read that begins after a write has answered sees it.
/// - **Retention:** what is older than the configured time is not in any answer, whether or not it was
///   removed already. It counts from a notification's last fact, and from its `deliver_at` where that is later;
///   from when a job was saved last, and from the `at` of an entry of an audit trail. Dead letters stay for 30
///   days at least. What waits in the schedule is found at any rate, for as long after it was due.
/// - **Bounded:** every call ends within the store's deadline with an answer or
///   [`StoreError::Unavailable`]; a full queue is `Unavailable` at once. Cancelling a call is safe; whether
///   its write took effect is then unknown.
///
/// Every method fails with [`StoreError::Closed`] after [`close`](Self::close).
#[async_trait]
pub trait NotificationStore: Send + Sync + 'static {
    /// Keeps payloads, with the facts `accepted` (at the envelope's `accepted_at`) and `stored`, and puts
    /// them into their tenant's deliveries. One with a collapse key becomes the latest of its stream and key,
    /// unless a newer one, by (`accepted_at`, id), is.
    ///
    /// # Errors
    /// As in the promises above.
    async fn persist(&self, batch: &[NewNotification]) -> Result<(), StoreError>;

    /// Records that Kafka has acknowledged these deliveries, and puts them into their stream's recent ones.
    ///
    /// # Errors
    /// As in the promises above.
    async fn dispatched(&self, batch: &[Dispatched]) -> Result<(), StoreError>;

    /// Records what happened to notifications beside. A `Delivered` or `Acknowledged` fact also stands for the
    /// first time of its kind, the earliest of which stays, over all attempts and redrives. Of the sessions that a
    /// process tells with a `Delivered` fact the most stay.
    ///
    /// # Errors
    /// As in the promises above.
    async fn note(&self, batch: &[Fact]) -> Result<(), StoreError>;

    /// Puts these records into their tenant's index of dead letters, and records that the notifications they name
    /// are dead. A row that was marked keeps its mark when it is told again.
    ///
    /// # Errors
    /// As in the promises above.
    async fn dead(&self, batch: &[DeadLetter]) -> Result<(), StoreError>;

    /// A notification with its state and time line; `None` when it is unknown, another tenant's, expired, or
    /// its payload has not come yet.
    ///
    /// # Errors
    /// As in the promises above.
    async fn notification(&self, tenant: &TenantId, id: NotificationId) -> Result<Option<Known>, StoreError>;

    /// What is known of these notifications, in the order asked; `None` where no fact is known. A fact is
    /// enough: the payload need not have come.
    ///
    /// # Errors
    /// As in the promises above.
    async fn heads(&self, tenant: &TenantId, ids: &[NotificationId])
    -> Result<Vec<Option<Head>>, StoreError>;

    /// The latest notification of each stream and collapse key, in the order asked; `None` where none is known.
    ///
    /// # Errors
    /// As in the promises above.
    async fn latest(
        &self,
        tenant: &TenantId,
        keys: &[(Stream, CollapseKey)],
    ) -> Result<Vec<Option<NotificationId>>, StoreError>;

    /// Puts notifications into the schedule.
    ///
    /// # Errors
    /// As in the promises above.
    async fn schedule(&self, batch: &[Scheduled]) -> Result<(), StoreError>;

    /// Takes notifications out of the schedule. One that is not there is no error. One that is put in again
    /// within the same millisecond may stay out: whoever takes out is at the end of a life.
    ///
    /// # Errors
    /// As in the promises above.
    async fn unschedule(&self, batch: &[Scheduled]) -> Result<(), StoreError>;

    /// At most `limit` notifications of a partition that are due at a moment in Unix milliseconds, in the order in
    /// which they are due. They stay in the schedule. However long ago one was due, it is found, as long as the
    /// clocks of those who put in and those who ask are within minutes of one another.
    ///
    /// # Errors
    /// As in the promises above.
    async fn due(&self, partition: i32, now_ms: u64, limit: u32) -> Result<Vec<Due>, StoreError>;

    /// A page of the tenant's dead letters by (`at`, id), as bounded as [`deliveries`](Self::deliveries). A
    /// record on the dead-letter topic has one `at`: of its rows with different ones each stands for itself.
    ///
    /// # Errors
    /// As in the promises above.
    async fn dead_letters(
        &self,
        tenant: &TenantId,
        query: &DeadLettersQuery,
    ) -> Result<DeadLettersResult, StoreError>;

    /// One dead letter of the tenant.
    ///
    /// # Errors
    /// As in the promises above.
    async fn dead_letter(
        &self,
        tenant: &TenantId,
        id: DeadLetterId,
    ) -> Result<Option<DeadLetterRow>, StoreError>;

    /// Records what was done with dead letters of the tenant. Marks of letters that are not in the index, or not
    /// any more, have no effect that can be seen.
    ///
    /// # Errors
    /// As in the promises above.
    async fn mark_dead_letters(&self, tenant: &TenantId, marks: &[DeadLetterMark]) -> Result<(), StoreError>;

    /// Keeps a new job, unless one of its tenant and id is there: gives the one that stands.
    ///
    /// # Errors
    /// As in the promises above.
    async fn begin_job(&self, job: &Job) -> Result<Job, StoreError>;

    /// Keeps how a job stands. Of two, the one with the later `updated_at` stays; at one moment, one that has
    /// ended, or has moved more.
    ///
    /// # Errors
    /// As in the promises above.
    async fn save_job(&self, job: &Job) -> Result<(), StoreError>;

    /// A job of the tenant.
    ///
    /// # Errors
    /// As in the promises above.
    async fn job(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Job>, StoreError>;

    /// Keeps entries of audit trails. An entry that is told twice stands once.
    ///
    /// # Errors
    /// As in the promises above.
    async fn audit(&self, batch: &[AuditEntry]) -> Result<(), StoreError>;

    /// A page of the tenant's audit trail by (`at`, id), newest first, as bounded as
    /// [`deliveries`](Self::deliveries).
    ///
    /// # Errors
    /// As in the promises above.
    async fn audit_trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<AuditResult, StoreError>;

    /// A page of the tenant's stored notifications with their payloads by (`accepted_at`, id), oldest first, as
    /// bounded as [`deliveries`](Self::deliveries); a page of large payloads is short.
    ///
    /// # Errors
    /// As in the promises above.
    async fn stored(&self, tenant: &TenantId, query: &StoredQuery) -> Result<StoredResult, StoreError>;

    /// A page of the tenant's notifications by (`accepted_at`, id), newest first. Pages that follow one
    /// another lose and double no row, whatever arrives in between. The scan is bounded: a page may be short
    /// or empty and still have a cursor; only a missing cursor is the end.
    ///
    /// # Errors
    /// As in the promises above.
    async fn deliveries(
        &self,
        tenant: &TenantId,
        query: &DeliveriesQuery,
    ) -> Result<DeliveriesResult, StoreError>;

    /// The last `n` (at most `limits::LAST_N`) dispatched notifications of a stream, oldest first, by cursor;
    /// with `before`, the last `n` of those with a smaller cursor. A deliberate repeat has a row of its own.
    ///
    /// # Errors
    /// As in the promises above.
    async fn recent(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        n: u32,
        before: Option<Cursor>,
    ) -> Result<Vec<RecentRow>, StoreError>;

    /// Claims an idempotency key for 24 hours. Of any number of claims at the same time exactly one is
    /// [`ClaimOutcome::New`]; the others get that one. The claim that holds is new again when it is told again,
    /// so that a call without an answer may be repeated.
    ///
    /// # Errors
    /// As in the promises above.
    async fn claim(
        &self,
        tenant: &TenantId,
        key: &IdempotencyKey,
        claim: &Claim,
    ) -> Result<ClaimOutcome, StoreError>;

    /// Whether a small read works now.
    ///
    /// # Errors
    /// As in the promises above.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Finishes what was taken, within the store's deadline, and lets go of the database. Safe to repeat.
    async fn close(&self);
}
