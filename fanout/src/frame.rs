//! Frames on their way out: the text of one WebSocket message, shared by every session that gets it.
//!
//! In: a delivery's bytes, or an answer. Out: text that is checked to be UTF-8 once and cloned for nothing.
//! Always: a notification is encoded once per delivery, not once per session.

use std::sync::Arc;

use bytes::Bytes;
use carillon_schemas::{Stream, cursor::Cursor, delivery, frame::ServerFrame};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::receipts::Tally;

/// The text of one message.
pub(crate) type Text = Utf8Bytes;

/// A live notification of a stream, as the hub hands it to a session.
#[derive(Debug, Clone)]
pub(crate) struct LiveFrame {
    /// Its message.
    pub(crate) text: Text,
    /// Its place.
    pub(crate) offset: i64,
    /// The place before it.
    pub(crate) prev: i64,
    /// When its record was written, Unix milliseconds; 0 when unknown.
    pub(crate) written_ms: i64,
    /// Who took it.
    pub(crate) tally: Arc<Tally>,
}

/// The message of a notification; `None` when the delivery is no JSON object or no UTF-8.
pub(crate) fn notification(stream: &Stream, cursor: Cursor, prev: Cursor, delivery: &[u8]) -> Option<Text> {
    let bytes: Bytes = delivery::notification_frame(stream, cursor, prev, delivery).ok()?;
    Text::try_from(bytes).ok()
}

/// The message of any other frame.
pub(crate) fn answer(frame: &ServerFrame) -> Text {
    // Serialising these types cannot fail; an empty object would still be a frame that clients ignore.
    frame.to_json().unwrap_or_else(|_| "{}".to_owned()).into()
}
