//! What the server says.
//!
//! In: facts of a session. Out: compact JSON text.
//! Always: `notification` frames are made by [`crate::delivery::notification_frame`] and read back here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ChannelName, Stream, cursor::Cursor, delivery::Delivery};

/// Why a client's frame was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not a frame.
    Malformed,
    /// A frame type that does not exist.
    UnknownType,
    /// A frame type that is not built yet.
    UnsupportedFrame,
    /// Another tenant's things; the socket is closed.
    TenantForbidden,
    /// The token does not reach this channel.
    ChannelForbidden,
    /// No channel named, or none that is subscribed.
    NoChannel,
    /// More subscriptions than a socket may hold.
    TooManySubscriptions,
    /// More channels in one frame than it may name.
    TooManyChannels,
    /// A cursor that fits none of the streams.
    InvalidCursor,
    /// The credential is missing or wrong; the socket is closed when it was the only one.
    BadCredential,
    /// The node cannot answer right now; ask again.
    Unavailable,
}

/// A notification with its place in its stream. Read with [`ServerFrame::parse`].
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct NotificationFrame {
    /// The stream that the cursor counts on.
    pub stream: Stream,
    /// This notification's place.
    pub cursor: Cursor,
    /// The place before it: a gap is `prev` ≠ the last cursor of the stream.
    pub prev: Cursor,
    /// The notification.
    #[serde(flatten)]
    pub delivery: Delivery,
}

/// Everything that the server may say.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// A notification.
    #[serde(skip_deserializing)]
    Notification(Box<NotificationFrame>),
    /// A channel is subscribed from here on.
    Subscribed {
        /// The stream.
        stream: Stream,
        /// The channel, absent for the own user stream.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<ChannelName>,
        /// The place before the next frame of the stream.
        cursor: Cursor,
        /// Whether everything since the asked cursor follows.
        recovered: bool,
        /// The id of the frame that asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// A channel is no longer subscribed.
    Unsubscribed {
        /// The channel.
        channel: ChannelName,
        /// The id of the frame that asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// Notifications were left out because the session reads too slowly.
    Lagged {
        /// Of which stream.
        stream: Stream,
        /// How many.
        dropped: u64,
        /// The last place before the loss: subscribe with it as `since` to get them all.
        cursor: Cursor,
    },
    /// Nothing more is known about what came after this place.
    Unrecovered {
        /// Of which stream.
        stream: Stream,
        /// The place that was asked for.
        from: Cursor,
    },
    /// Nothing of this stream stands between `prev` and `cursor` for this session: no gap.
    Skipped {
        /// Of which stream.
        stream: Stream,
        /// The place up to which.
        cursor: Cursor,
        /// The last place before.
        prev: Cursor,
    },
    /// A fresh token was taken.
    Authenticated {
        /// When the session ends now, Unix seconds.
        expires_at: u64,
    },
    /// A frame was refused.
    Error {
        /// Why.
        code: ErrorCode,
        /// In words.
        detail: String,
        /// The id of the frame that was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// The answer to `ping`.
    Pong {
        /// The id of the ping.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
}

impl NotificationFrame {
    fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Place {
            stream: Stream,
            cursor: Cursor,
            prev: Cursor,
        }
        let Place { stream, cursor, prev } = serde_json::from_str(text)?;
        Ok(Self {
            stream,
            cursor,
            prev,
            delivery: Delivery::from_json(text.as_bytes())?,
        })
    }
}

impl ServerFrame {
    /// Parses the text of one message.
    ///
    /// # Errors
    /// Where the text is no frame of this version.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(rename = "type", borrow)]
            kind: std::borrow::Cow<'a, str>,
        }
        let Kind { kind } = serde_json::from_str(text)?;
        if kind == "notification" {
            return Ok(Self::Notification(Box::new(NotificationFrame::from_json(text)?)));
        }
        serde_json::from_str(text)
    }

    /// Compact JSON.
    ///
    /// # Errors
    /// Never for these types; the signature is serde's.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}
