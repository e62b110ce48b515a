//! The product as a whole: its walls, its roles together, and the process under the kill.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where"
)]
#![allow(
    clippy::print_stdout,
    reason = "the long forms of these tests print what they did"
)]

mod cluster;
mod house;
mod idempotency;
mod isolation;
mod kill;
mod rebalance;
mod resume;
mod runner;
mod secrets;
mod walk;
mod walls;
