//! Consume, persist, dispatch, and what happens when that fails.
//!
//! In: records of the notifications topic. Out: notifications in the store, deliveries on their tenant's
//! shard, dead letters with their reason.
//! Always: an offset is let go only after its verdict was carried out; a push is made only of what the
//! store has committed; trouble of the store or of Kafka is waited out in place and moves no record.

mod audit;
mod beside;
mod bind;
mod breaker;
mod commands;
mod config;
mod dead_letters;
mod dispatch;
mod error;
mod fair;
mod gate;
mod hold;
mod intake;
mod jobs;
mod ladder;
mod listen;
mod metrics;
mod moves;
mod open;
mod overflow;
mod persist;
mod pipeline;
mod poison;
mod probe;
mod questions;
mod receipts;
mod router;
mod schedule;
#[cfg(feature = "seeded-bugs")]
pub mod seeded;
mod settle;
#[cfg(test)]
mod sim;
mod sources;
mod trail;
mod travel;
mod verdict;
mod waiting;
mod work;

pub use beside::BesideConfig;
pub use config::{Batching, LadderBounds, RouterConfig};
pub use error::RouterError;
pub use gate::ChannelLimits;
pub use poison::{Class, Code};
pub use router::{Router, RouterDeps};
