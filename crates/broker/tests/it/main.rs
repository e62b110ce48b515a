//! The broker as its clients see it: raw protocol over TCP, restarts, damage.
//!
//! In: a broker on a free port and a temporary directory. Out: what it answers. Always: nothing sleeps; a wait
//! is on an answer or on a condition, with a deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bad_bytes;
mod client;
mod damage;
mod durability;
mod groups;
mod produce_fetch;
mod stage;
mod topics;
mod versions;
