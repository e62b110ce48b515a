//! The cluster under the kill: roles as processes on real Kafka and Cassandra, and whatever of it dies under
//! load, nothing that was answered 202 is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where"
)]
#![allow(clippy::print_stdout, reason = "these tests are read for their figures")]

mod installation;
mod load;
mod under_kill;
