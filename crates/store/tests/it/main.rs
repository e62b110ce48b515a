//! The store from outside: conformance, files, room, locks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

mod support;

mod files;
mod order;
mod pressure;
mod room;
mod sqlite;
