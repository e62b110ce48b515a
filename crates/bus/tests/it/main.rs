//! The bus against brokers.
//!
//! In: the embedded broker, and the mock cluster where something must fail. Out: what was sent, read, committed.
//! Always: a condition is waited for with a deadline, never slept for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

mod embedded;
mod faults;
mod group;
mod reading;
mod support;
