//! The commands, one file each.
//!
//! In: parsed arguments. Out: what the command does. Always: a command composes; rules live in the rooms.

pub(crate) mod broker;
pub(crate) mod cancel;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod dlq;
pub(crate) mod fanout;
pub(crate) mod ingest;
pub(crate) mod listen;
pub(crate) mod replay;
pub(crate) mod role;
pub(crate) mod router;
pub(crate) mod schemas;
pub(crate) mod send;
pub(crate) mod smoke;
pub(crate) mod store;
pub(crate) mod token;
pub(crate) mod topics;
pub(crate) mod up;
