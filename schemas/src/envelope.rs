//! The envelope: a notification with its routing facts, the value of a record on the notifications topic.
//!
//! In: an admitted submission. Out: compact JSON. Always: once sealed, the bytes are never re-encoded on
//! their way; attempts and reasons are headers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    ChannelName, CollapseKey, CorrelationId, NotificationId, Stream, TenantId, UserId,
    notification::{Audience, Priority},
};

/// The schema header's value for this version.
pub const SCHEMA: &str = "envelope/1";

/// A notification as it travels and as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Envelope {
    /// Its id, for ever.
    pub notification_id: NotificationId,
    /// Its tenant; must equal the record's `carillon-tenant` header.
    pub tenant_id: TenantId,
    /// The user it is about or for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Its channel.
    pub channel: ChannelName,
    /// Whom it addresses.
    #[serde(default)]
    pub audience: Audience,
    /// One id from the edge to the socket.
    pub correlation_id: CorrelationId,
    /// When it was accepted, Unix milliseconds.
    pub accepted_at: u64,
    /// How urgent it is.
    #[serde(default, skip_serializing_if = "Priority::is_normal")]
    pub priority: Priority,
    /// Not to be delivered at or after this moment, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// A newer one of its stream with this key takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapse_key: Option<CollapseKey>,
    /// Whether it is dispatched again until a client acknowledges it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_ack: bool,
    /// Not to be dispatched before this moment, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<u64>,
    /// The producer's own type name: the submission's `type`, which inside a frame is the frame's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The text.
    pub content: String,
    /// Any JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    pub data: Option<Box<RawValue>>,
}

/// An envelope that contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("audience is user and user_id is missing")]
pub struct NoAddressee;

impl Envelope {
    /// The stream that a cursor of this notification counts on.
    ///
    /// # Errors
    /// [`NoAddressee`] when it is for a user and names none.
    pub fn stream(&self) -> Result<Stream, NoAddressee> {
        stream_of(self.audience, &self.channel, self.user_id.as_ref())
    }

    /// Whether its time to live has ended.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at.is_some_and(|at| now_ms >= at)
    }

    /// From when its age counts: its acceptance, or the moment that it waited for.
    pub fn begins_at(&self) -> u64 {
        self.accepted_at.max(self.deliver_at.unwrap_or(0))
    }

    /// Compact JSON.
    ///
    /// # Errors
    /// Never for values built by this crate's parsers; the signature is serde's.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut out = Vec::with_capacity(320 + self.content.len());
        serde_json::to_writer(&mut out, self)?;
        Ok(out)
    }

    /// From the bytes of a record.
    ///
    /// # Errors
    /// Where the bytes are no envelope.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// The one rule of which stream a notification belongs to.
pub(crate) fn stream_of(
    audience: Audience,
    channel: &ChannelName,
    user: Option<&UserId>,
) -> Result<Stream, NoAddressee> {
    match (audience, user) {
        (Audience::Channel, _) => Ok(Stream::Channel(channel.clone())),
        (Audience::User, Some(user)) => Ok(Stream::User(user.clone())),
        (Audience::User, None) => Err(NoAddressee),
    }
}
