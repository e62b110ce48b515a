//! The member of a consumer group: at least once, with the owner saying when a record is finished.
//!
//! In: topics. Out: batches of records and news of the assignment, over a bounded queue.
//! Always: what is committed is at or below the lowest unfinished record of its partition.

use std::time::Duration;

use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use tokio::sync::mpsc;

use crate::{BusConfig, BusError, ConsumerOptions, Record, TopicPartition};

/// Records of several partitions; those of one partition are in offset order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The records, at least one.
    pub records: Vec<Record>,
}

/// What a member of a group is told, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Records to handle; each must be finished.
    Records(Batch),
    /// These partitions are now this member's.
    Assigned(Vec<TopicPartition>),
    /// These are no longer. Records of theirs that are still being handled may be let go: finishing them
    /// has no effect.
    Revoked(Vec<TopicPartition>),
}

/// A member of a consumer group. Dropping it leaves the group in the background; [`GroupConsumer::close`]
/// waits for that.
#[derive(Debug)]
pub struct GroupConsumer {}

impl GroupConsumer {
    /// Joins a group. `topics` are names, or regular expressions that begin with `^`.
    pub fn start(
        _config: &BusConfig,
        _group: &str,
        _topics: &[String],
        _options: ConsumerOptions,
        _metrics: &Metrics,
        _tasks: &Tasks,
    ) -> Result<(Self, mpsc::Receiver<Event>), BusError> {
        unimplemented!()
    }

    /// The record was handled. When everything below it is finished too, the next commit covers it.
    /// Has no effect for a partition that was revoked since.
    pub fn finish(&self, _topic: &str, _partition: i32, _offset: i64) {
        unimplemented!()
    }

    /// Fetches nothing more until [`GroupConsumer::resume`]; partitions that are assigned meanwhile are
    /// paused too. What is in the queue stays there.
    pub fn pause(&self) {
        unimplemented!()
    }

    /// Ends a pause.
    pub fn resume(&self) {
        unimplemented!()
    }

    /// Commits the low-water marks and leaves the group.
    pub async fn close(self, _deadline: Duration) -> Result<(), BusError> {
        unimplemented!()
    }
}
