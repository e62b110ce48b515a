//! Whole stacks and actors for tests.
//!
//! In: what a test wants to run. Out: running roles on port 0, and actors that speak only HTTP, WebSocket and
//! Kafka. Always: a test ends by draining and says what was lost, doubled, foreign or out of order; nothing
//! is left running.

pub mod aftermath;
pub mod chaos;
pub mod installation;
pub mod journal;
pub mod load;
pub mod stack;
pub mod topic_setting;
