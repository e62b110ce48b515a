//! The router against a real store and the embedded broker.
//!
//! In: records on the notifications topic. Out: what stands on the other topics and in the store.
//! Always: each test has its own broker, store and topics.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod bad_headers;
mod commands;
mod faulty_store;
mod ladder;
mod operator;
mod overflow;
mod poison;
mod receipts;
mod records;
mod redrive;
mod replay;
mod republished;
mod restart;
mod stack;
mod time;
mod trouble;
mod walk;
