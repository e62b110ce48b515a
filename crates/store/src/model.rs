//! The facts that a store is told and the answers that it gives.
//!
//! In: what the router saw. Out: what ingest and fanout show. Always: times are Unix milliseconds, attempts
//! count from 1, and a notification's bytes are the ones that ingest sealed.

use std::sync::Arc;

use bytes::Bytes;
use carillon_schemas::{
    ChannelName, NotificationId, Stream, TenantId,
    cursor::Cursor,
    envelope::Envelope,
    http::{DeliveryRow, TimelineEntry},
    status::Status,
};

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
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Which process says so.
    pub node: Arc<str>,
}

/// A notification whose record went to the dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Its tenant.
    pub tenant: TenantId,
    /// The notification.
    pub id: NotificationId,
    /// The last attempt, from 1.
    pub attempt: u8,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Which process says so.
    pub node: Arc<str>,
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
