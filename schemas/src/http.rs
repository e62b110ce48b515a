//! Bodies of HTTP answers.
//!
//! In: what the store knows. Out: compact JSON. Always: times are Unix milliseconds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ChannelName, CorrelationId, NotificationId, Stream, TenantId, UserId, cursor::Cursor, envelope::Envelope,
    status::Status,
};

/// The answer 202 to a submit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// Always `accepted`.
    pub status: Status,
    /// The notification's id.
    pub notification_id: NotificationId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its channel.
    pub channel: ChannelName,
    /// Its correlation id.
    pub correlation_id: CorrelationId,
    /// Present and true when the idempotency key was seen before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deduplicated: bool,
}

/// The answer 202 to a cancel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelling {
    /// Always `cancelling`: the notification's state says later whether the cancel came in time.
    pub status: CancelStatus,
    /// Which notification.
    pub notification_id: NotificationId,
}

/// How a cancel stands that was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelStatus {
    /// Kafka has it on all in-sync replicas.
    #[default]
    Cancelling,
}

/// One fact in a notification's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEntry {
    /// What happened.
    pub status: Status,
    /// When.
    pub at: u64,
    /// In which attempt, from 1.
    pub attempt: u8,
    /// In which redrive, from 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redrive: u8,
    /// Which process says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// To how many of that process's sessions it was delivered, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
}

fn is_zero(n: &u8) -> bool {
    *n == 0
}

/// The answer to `GET /v1/notifications/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NotificationState {
    /// The state now.
    pub status: Status,
    /// When the first socket took its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_delivered_at: Option<u64>,
    /// When a client first acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked_at: Option<u64>,
    /// How it came there, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// The notification.
    pub notification: Envelope,
}

/// One row of the deliveries route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryRow {
    /// The notification.
    pub notification_id: NotificationId,
    /// Its channel.
    pub channel: ChannelName,
    /// Its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Its state now.
    pub status: Status,
    /// When it was accepted.
    pub accepted_at: u64,
    /// Its correlation id.
    pub correlation_id: CorrelationId,
}

/// A page of the deliveries route, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveriesPage {
    /// The rows. An empty page may still have a cursor: the scan is bounded.
    pub deliveries: Vec<DeliveryRow>,
    /// For the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// One notification of a channel's snapshot.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RecentEntry {
    /// Its place in the stream: a socket can subscribe with it as `since`.
    pub cursor: Cursor,
    /// The notification.
    pub notification: Envelope,
}

/// The answer of the snapshot route, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RecentPage {
    /// The stream.
    pub stream: Stream,
    /// Its last notifications.
    pub notifications: Vec<RecentEntry>,
}
