//! The facts that a store is told and the answers that it gives.
//!
//! In: what the router saw. Out: what ingest and fanout show. Always: times are Unix milliseconds, attempts
//! count from 1, and a notification's bytes are the ones that ingest sealed.

use std::sync::Arc;

use bytes::Bytes;
use carillon_schemas::{
    ChannelName, NotificationId, Stream, TenantId,
    audit::{AuditEntry, AuditKind},
    cursor::Cursor,
    dead_letter::{DeadLetterId, DeadLetterRow, DeadLetterState},
    envelope::Envelope,
    http::{DeliveryRow, TimelineEntry},
    status::{Stamp, Status},
};
use uuid::Uuid;

use crate::cursor::PageCursor;

/// A notification that the router took from Kafka.
#[derive(Debug, Clone)]
pub struct NewNotification {
    /// The notification. Its tenant is the tenant that it is kept for.
    pub envelope: Envelope,
    /// The envelope's bytes as sealed: kept unchanged.
    pub bytes: Bytes,
    /// The stream that its cursors count on.
    pub stream: Stream,
    /// Which attempt, from 1.
    pub attempt: u8,
    /// In which redrive, from 0.
    pub redrive: u8,
    /// When it was read, Unix milliseconds. The time that it is kept for counts from here.
    pub at_ms: u64,
    /// Which process says so.
    pub node: Arc<str>,
}

/// A delivery that Kafka acknowledged.
#[derive(Debug, Clone)]
pub struct Dispatched {
    /// Its tenant.
    pub tenant: TenantId,
    /// The notification.
    pub id: NotificationId,
    /// The stream it was dispatched on.
    pub stream: Stream,
    /// Its place in the stream.
    pub cursor: Cursor,
    /// Which deliberate repeat, from 1.
    pub delivery: u32,
    /// Which attempt, from 1.
    pub attempt: u8,
    /// In which redrive, from 0.
    pub redrive: u8,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Which process says so.
    pub node: Arc<str>,
}

/// Something that happened to a notification, beside its payload and its dispatches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Its tenant.
    pub tenant: TenantId,
    /// The notification.
    pub id: NotificationId,
    /// What happened, in which attempt and redrive.
    pub stamp: Stamp,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Which process says so.
    pub node: Arc<str>,
    /// With [`Status::Delivered`]: how many of the node's sockets have taken it so far. The greatest stays.
    pub sessions: Option<u32>,
}

/// A record that stands on the dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its row in the tenant's index. Where it names a notification, that notification is dead, too, in the
    /// row's attempt and redrive.
    pub row: DeadLetterRow,
    /// Which process says so.
    pub node: Arc<str>,
}

/// What is known of a notification without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The highest fact.
    pub stamp: Stamp,
    /// The highest fact that is not a receipt. A socket may take a delivery before all that belongs to its dispatch is
    /// durable, and its receipt may be here before that; what a router says of a dispatch is not.
    pub settled: Option<Stamp>,
    /// When a socket first took its bytes, over all attempts and redrives.
    pub first_delivered_at: Option<u64>,
    /// When a client first acknowledged it, over all attempts and redrives.
    pub acked_at: Option<u64>,
}

/// A notification that waits for its `deliver_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// The partition of the notifications topic that it came from: that one's owner looks after it.
    pub partition: i32,
    /// When it is due, Unix milliseconds.
    pub due_at_ms: u64,
    /// Its tenant.
    pub tenant: TenantId,
    /// The notification.
    pub id: NotificationId,
}

/// A scheduled notification that is due.
#[derive(Debug, Clone)]
pub struct Due {
    /// Its place in the schedule.
    pub place: Scheduled,
    /// The envelope's bytes as sealed; `None` when its payload is gone.
    pub bytes: Option<Bytes>,
    /// What is known of it; `None` when nothing is any more.
    pub head: Option<Head>,
}

/// Which page of a tenant's dead letters is wanted.
#[derive(Debug, Clone, Default)]
pub struct DeadLettersQuery {
    /// Most rows in the page, 1…500 (`limits::PAGE_ROWS`); values outside are clamped.
    pub limit: u32,
    /// The page before's `next`.
    pub cursor: Option<PageCursor>,
    /// Oldest first, instead of newest first.
    pub oldest_first: bool,
    /// Only those of this class, or with this code.
    pub class: Option<String>,
    /// Only those in this state.
    pub state: Option<DeadLetterState>,
    /// Only those that became dead letters at or after this moment, Unix milliseconds.
    pub since_ms: Option<u64>,
    /// Only those that did so before this moment, Unix milliseconds.
    pub until_ms: Option<u64>,
}

/// A page of a tenant's dead letters by (`at`, id).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLettersResult {
    /// The rows. May be fewer than asked for, even none, with more to come: the scan behind is bounded.
    pub rows: Vec<DeadLetterRow>,
    /// Where the next page begins; `None` when this was the last.
    pub next: Option<PageCursor>,
}

/// What was done with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterMark {
    /// Which.
    pub id: DeadLetterId,
    /// When it became one, as its row says: where it is looked for.
    pub at_ms: u64,
    /// What. A mark never goes back to [`DeadLetterState::Waiting`]; the last one stays.
    pub state: DeadLetterState,
    /// By which job.
    pub job: Uuid,
    /// When it was done, Unix milliseconds.
    pub marked_at_ms: u64,
}

/// Which page of a tenant's audit trail is wanted.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Most entries in the page, 1…500 (`limits::PAGE_ROWS`); values outside are clamped.
    pub limit: u32,
    /// The page before's `next`; `None` is the newest page.
    pub cursor: Option<PageCursor>,
    /// Only entries of this kind.
    pub kind: Option<AuditKind>,
    /// Only entries at or after this moment, Unix milliseconds.
    pub since_ms: Option<u64>,
    /// Only entries before this moment, Unix milliseconds.
    pub until_ms: Option<u64>,
}

/// A page of a tenant's audit trail by (`at`, id), newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditResult {
    /// The entries. May be fewer than asked for, even none, with more to come: the scan behind is bounded.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins; `None` when this was the last.
    pub next: Option<PageCursor>,
}

/// Which stored notifications are wanted again.
#[derive(Debug, Clone)]
pub struct StoredQuery {
    /// Most rows in the page, 1…500 (`limits::PAGE_ROWS`); values outside are clamped.
    pub limit: u32,
    /// The page before's `next`; `None` is the oldest page.
    pub cursor: Option<PageCursor>,
    /// Accepted at or after this moment, Unix milliseconds.
    pub since_ms: u64,
    /// Accepted before this moment, Unix milliseconds.
    pub until_ms: u64,
    /// Only those of this channel.
    pub channel: Option<ChannelName>,
}

/// A stored notification.
#[derive(Debug, Clone)]
pub struct StoredRow {
    /// The envelope's bytes as sealed.
    pub bytes: Bytes,
    /// The same, decoded.
    pub envelope: Envelope,
    /// The highest fact.
    pub stamp: Stamp,
    /// Where a page that begins behind this row begins.
    pub after: PageCursor,
}

/// A page of a tenant's stored notifications by (`accepted_at`, id), oldest first.
#[derive(Debug, Clone)]
pub struct StoredResult {
    /// The rows. May be fewer than asked for, even none, with more to come: the scan behind is bounded.
    pub rows: Vec<StoredRow>,
    /// Where the next page begins; `None` when this was the last.
    pub next: Option<PageCursor>,
}

/// A notification as the store knows it.
#[derive(Debug, Clone)]
pub struct Known {
    /// The envelope's bytes as sealed.
    pub bytes: Bytes,
    /// The same, decoded.
    pub envelope: Envelope,
    /// Its state now: the fact with the highest stamp.
    pub status: Status,
    /// When a socket first took its bytes.
    pub first_delivered_at: Option<u64>,
    /// When a client first acknowledged it.
    pub acked_at: Option<u64>,
    /// Every fact, in the order of their stamps; it begins with `accepted`, at the envelope's `accepted_at`.
    pub timeline: Vec<TimelineEntry>,
}

/// What page of a tenant's deliveries is wanted.
#[derive(Debug, Clone, Default)]
pub struct DeliveriesQuery {
    /// Most rows in the page, 1…500 (`limits::PAGE_ROWS`); values outside are clamped.
    pub limit: u32,
    /// The page before's `next`; `None` is the newest page.
    pub cursor: Option<PageCursor>,
    /// Only notifications in this state.
    pub status: Option<Status>,
    /// Only notifications of this channel.
    pub channel: Option<ChannelName>,
    /// Only notifications accepted at or after this moment, Unix milliseconds.
    pub since_ms: Option<u64>,
}

/// A page of a tenant's deliveries, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveriesResult {
    /// The rows. May be fewer than asked for, even none, with more to come: the scan behind is bounded.
    pub rows: Vec<DeliveryRow>,
    /// Where the next page begins; `None` when this was the last.
    pub next: Option<PageCursor>,
}

/// One notification of a stream's recent ones.
#[derive(Debug, Clone)]
pub struct RecentRow {
    /// Its place in the stream.
    pub cursor: Cursor,
    /// Which deliberate repeat, from 1.
    pub delivery: u32,
    /// The notification.
    pub envelope: Envelope,
    /// The envelope's bytes as sealed.
    pub bytes: Bytes,
}

/// Who holds an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The notification that was first submitted with the key.
    pub id: NotificationId,
    /// SHA-256 of its body.
    pub body_hash: [u8; 32],
    /// When it was claimed, Unix milliseconds.
    pub at_ms: u64,
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The key was free; it is the caller's now.
    New,
    /// The key was taken, by this claim.
    Existing(Claim),
}
