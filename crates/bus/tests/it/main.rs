//! The bus against brokers.
//!
//! In: the mock cluster, where something must fail. Out: what was sent, read, committed.
//! Always: a condition is waited for with a deadline, never slept for.

mod faults;
mod group;
mod reading;
mod support;
