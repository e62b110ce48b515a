//! Chaos: an installation under load and under faults drawn from a seed, and whether every rule held.
//!
//! `make chaos`, with `SEED`, `MINUTES`, `LANE` and `KINDS`; docs/testing.md says how to read what it prints.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where"
)]
#![allow(clippy::print_stdout, reason = "these tests are read for their figures")]

mod cluster;
mod embedded;
mod evidence;
mod ground;
mod load;
mod run;
mod seeded;
mod settings;
mod under_chaos;
