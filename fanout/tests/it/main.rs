//! A fanout node as its clients and Kafka see it.
//!
//! In: real sockets, a real broker, a real store. Out: what every rule of the protocol promises.
//! Always: a test waits for a condition with a deadline and ends by closing the node, with no task left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

mod abuse;
mod audited;
mod connect;
mod deliver;
mod documents;
mod drain;
mod frames;
mod open;
mod outdated;
mod receipts;
mod resume;
mod support;
