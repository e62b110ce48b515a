//! The bus against brokers.
//!
//! In: the embedded broker, Apache Kafka, and the mock cluster where something must fail. Out: what was sent, read, committed.
//! Always: a condition is waited for with a deadline, never slept for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; figures are printed"
)]

mod auditing;
mod embedded;
mod faults;
mod following;
mod group;
mod handing_over;
mod producing;
mod reading;
#[cfg(feature = "tls")]
mod security;
#[cfg(feature = "seeded-bugs")]
mod seeded;
mod stage;
mod support;
mod topics;
