//! Who is connected here, and getting frames to them.
//!
//! In: deliveries from Kafka, WebSocket clients. Out: frames on sockets, in stream order, each with its cursor.
//! Always: the hub never waits for a session; a loss is told, never silent; a session sees its own tenant only.

mod config;
mod deliveries;
mod edge;
mod error;
mod fanout;
mod frame;
mod handshake;
mod history;
mod hub;
mod metrics;
mod node;
mod receipts;
mod record;
mod refusal;
mod resume;
mod session;
mod sessions;

pub use config::{FanoutConfig, ReceiptLimits, SessionLimits};
pub use error::FanoutError;
pub use fanout::{Fanout, FanoutDeps};
