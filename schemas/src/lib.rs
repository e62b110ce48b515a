//! Every byte that crosses a process boundary is described here and nowhere else.
//!
//! In: bytes from clients, producers and Kafka. Out: typed values, and the same bytes again.
//! Always: no I/O, no clock, no async; unknown fields are tolerated on read; each contract has a golden
//! file under `golden/` that is decoded, re-encoded and compared.

pub mod audit;
pub mod claims;
pub mod close;
pub mod command;
pub mod cursor;
pub mod dead_letter;
pub mod delivery;
pub mod envelope;
pub mod frame;
pub mod headers;
pub mod http;
pub mod ids;
pub mod json_schema;
pub mod limits;
pub mod notification;
pub mod problem;
pub mod receipt;
pub mod shard;
pub mod status;
pub mod topics;

pub use ids::{
    ChannelName, CollapseKey, CorrelationId, IdempotencyKey, NotificationId, Stream, TenantId, UserId,
};
