//! Actors under load: publishers that keep a journal, listeners that keep what they saw, and the balancer that
//! stands between them and several processes.
//!
//! In: a server's URL, tokens, places. Out: a [`Journal`](crate::journal::Journal) and what each listener
//! received. Always: an actor speaks only HTTP and WebSocket.

mod balancer;
mod listener;
mod publisher;

pub use balancer::Balancer;
pub use listener::KeepingListener;
pub use publisher::NumberedPublisher;
