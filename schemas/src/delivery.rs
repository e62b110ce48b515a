//! A delivery: router → fanout, one record on the deliveries topic per notification and deliberate repeat.
//!
//! In: an envelope and its delivery count. Out: JSON that begins with `{"delivery":n,` and goes on with the
//! envelope's own bytes. Always: the envelope inside is byte for byte what ingest sealed, and a frame is
//! made from a delivery by putting text before it, without parsing.

use bytes::{BufMut, Bytes, BytesMut};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ChannelName, NotificationId, Stream, TenantId, UserId,
    cursor::Cursor,
    envelope::{Envelope, NoAddressee, stream_of},
    notification::Audience,
};

/// The schema header's value for this version.
pub const SCHEMA: &str = "delivery/1";

/// A delivery as a client reads it. Read with [`Delivery::from_json`]: `data` is kept byte for byte, which
/// serde's `flatten` cannot do on its own.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Delivery {
    /// Which deliberate repeat, from 1; clients drop what they have seen by (`notification_id`, `delivery`).
    pub delivery: u32,
    /// In which attempt it was dispatched, from 1: a retried notification may come behind later ones.
    #[serde(skip_serializing_if = "is_first")]
    pub attempt: u8,
    /// Whether it was asked for again by an operator.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The notification.
    #[serde(flatten)]
    pub envelope: Envelope,
}

fn is_first(attempt: &u8) -> bool {
    *attempt == FIRST_ATTEMPT
}

/// The attempt of a notification that never waited on the ladder.
pub const FIRST_ATTEMPT: u8 = 1;

/// What a dispatch says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// Which deliberate repeat, from 1.
    pub delivery: u32,
    /// In which attempt, from 1.
    pub attempt: u8,
    /// Whether an operator asked for it again.
    pub replayed: bool,
}

impl Repeat {
    /// The first dispatch in the first attempt.
    pub const FIRST: Self = Self {
        delivery: 1,
        attempt: FIRST_ATTEMPT,
        replayed: false,
    };
}

impl Delivery {
    /// From the bytes of a record or of a notification frame.
    ///
    /// # Errors
    /// Where the bytes are no delivery.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Count {
            delivery: u32,
            #[serde(default = "first_attempt")]
            attempt: u8,
            #[serde(default)]
            replayed: bool,
        }
        fn first_attempt() -> u8 {
            FIRST_ATTEMPT
        }
        let Count {
            delivery,
            attempt,
            replayed,
        } = serde_json::from_slice(bytes)?;
        Ok(Self {
            delivery,
            attempt,
            replayed,
            envelope: Envelope::from_json(bytes)?,
        })
    }
}

/// What fanout needs to know of a delivery to find its subscribers.
#[derive(Debug, Clone, Deserialize)]
pub struct Address {
    /// The notification.
    pub notification_id: NotificationId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its channel.
    pub channel: ChannelName,
    /// Whom it addresses.
    #[serde(default)]
    pub audience: Audience,
    /// The user it is about or for.
    #[serde(default)]
    pub user_id: Option<UserId>,
}

impl Address {
    /// From the bytes of a delivery record; everything else in it is passed over.
    ///
    /// # Errors
    /// Where the bytes are no delivery.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The stream that a cursor of this delivery counts on.
    ///
    /// # Errors
    /// [`NoAddressee`] when it is for a user and names none.
    pub fn stream(&self) -> Result<Stream, NoAddressee> {
        stream_of(self.audience, &self.channel, self.user_id.as_ref())
    }
}

/// The bytes are no JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a JSON object")]
pub struct NotAnObject;

/// The value of a delivery record: the envelope's bytes with what the dispatch says of itself put before its
/// first field.
///
/// # Errors
/// [`NotAnObject`] when the bytes do not begin with `{"`.
pub fn seal(repeat: Repeat, envelope: &[u8]) -> Result<Bytes, NotAnObject> {
    let rest = fields(envelope)?;
    let mut out = BytesMut::with_capacity(rest.len() + 56);
    out.put_slice(b"{\"delivery\":");
    out.put_slice(repeat.delivery.to_string().as_bytes());
    if repeat.attempt != FIRST_ATTEMPT {
        out.put_slice(b",\"attempt\":");
        out.put_slice(repeat.attempt.to_string().as_bytes());
    }
    if repeat.replayed {
        out.put_slice(b",\"replayed\":true");
    }
    out.put_u8(b',');
    out.put_slice(rest);
    Ok(out.freeze())
}

/// The bytes of a `notification` frame: stream, cursor and prev put before the delivery's fields.
///
/// # Errors
/// [`NotAnObject`] when the bytes do not begin with `{"`.
pub fn notification_frame(
    stream: &Stream,
    cursor: Cursor,
    prev: Cursor,
    delivery: &[u8],
) -> Result<Bytes, NotAnObject> {
    let rest = fields(delivery)?;
    let mut out = BytesMut::with_capacity(rest.len() + 144);
    out.put_slice(b"{\"type\":\"notification\",\"stream\":");
    let stream = serde_json::to_string(stream).map_err(|_| NotAnObject)?;
    out.put_slice(stream.as_bytes());
    let cursors = format!(",\"cursor\":\"{cursor}\",\"prev\":\"{prev}\",");
    out.put_slice(cursors.as_bytes());
    out.put_slice(rest);
    Ok(out.freeze())
}

/// What stands behind the opening brace of a non-empty object.
fn fields(object: &[u8]) -> Result<&[u8], NotAnObject> {
    match object {
        [b'{', rest @ ..] if rest.first() == Some(&b'"') && rest.last() == Some(&b'}') => Ok(rest),
        _ => Err(NotAnObject),
    }
}
