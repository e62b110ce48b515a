//! Actors under load: publishers that keep a journal, listeners that keep what they saw, and the balancer that
//! stands between them and several processes.
//!
//! In: a server's URL, tokens, places. Out: a [`Journal`](crate::journal::Journal) or a
//! [`History`](crate::chaos::History), and what each listener received. Always: an actor speaks only HTTP and
//! WebSocket; the poisoner, who is a bad producer, Kafka.

mod balancer;
mod client;
mod listener;
mod mixed;
mod observer;
mod poisoner;
mod publisher;
mod websocket;
mod witness;

pub use balancer::Balancer;
pub use client::Client;
pub use listener::KeepingListener;
pub use mixed::{Mix, MixedPublisher};
pub(crate) use poisoner::MARK;
pub use poisoner::Poisoner;
pub use publisher::NumberedPublisher;
pub use witness::Witness;
