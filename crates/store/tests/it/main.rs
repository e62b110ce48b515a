//! The store from outside: conformance, files, room, locks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

mod keyspace;
mod proxy;
mod support;

mod cassandra;
mod files;
mod order;
mod outages;
mod pressure;
mod room;
mod servers;
mod sqlite;
