//! Frames on a WebSocket, in both directions.
//!
//! In: text from a client, values from the server. Out: the other form.
//! Always: unknown fields are tolerated; fields are only ever added.

mod client;
mod server;

pub use client::{Acknowledge, ClientFrame, FrameError, Since, Subscribe};
pub use server::{ErrorCode, NotificationFrame, ServerFrame};
