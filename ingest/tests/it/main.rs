//! Ingest's routes, driven from outside against a real store and a Kafka that can be made to fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod access;
mod audit;
mod bad_input;
mod cancel;
mod connection;
mod cors;
mod desk;
mod documents;
mod embedded;
mod faults;
mod idempotency;
mod operators;
mod reads;
mod submit;
mod support;
