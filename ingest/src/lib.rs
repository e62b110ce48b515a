//! HTTP in, envelope out; and reads of what was accepted.
//!
//! In: requests of producers and of those who look. Out: records on the notifications topic, and 202 only
//! after their acknowledgement; states and lists from the store.
//! Always: a tenant comes from the token; every error is a problem of the closed list; nothing waits for ever.

mod config;
mod error;
mod http;
mod ingest;
mod meters;
mod policy;
mod publish;
mod ready;
mod refusal;
mod seal;
mod store;

pub use config::IngestConfig;
pub use error::IngestError;
pub use ingest::{Ingest, IngestDeps};
