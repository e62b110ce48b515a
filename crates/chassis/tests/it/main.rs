//! Serving over real connections: what a peer sees, well behaved or not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where"
)]

mod admin;
mod serving;
mod support;
