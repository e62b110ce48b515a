//! HTTP in, envelope out; reads of what was accepted; and the operators' requests.
//!
//! In: requests of producers, of those who look and of operators. Out: records on the notifications and commands
//! topics, and 202 only after their acknowledgement; states and lists from the store.
//! Always: a tenant comes from the token; every error is a problem of the closed list; nothing waits for ever.

mod command;
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
