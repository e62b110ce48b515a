//! The member of a consumer group: at least once, with the owner saying when a record is finished.
//!
//! In: topics. Out: batches of records and news of the assignment, over a bounded queue.
//! Always: what is committed is at or below the lowest unfinished record of its partition; a partition is
//! paused only on purpose, and not across a re-assignment.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::{
    BusConfig, BusError, ConsumerOptions, Record, TopicPartition, client::Watch, lag::LagOf,
    offsets::LowWaterMarks, thread::PollThread,
};

mod flow;
mod group;
mod hand_over;
mod member;

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
pub struct GroupConsumer {
    shared: Arc<Shared>,
    thread: PollThread,
}

/// What the owner and the poll thread share.
#[derive(Debug, Default)]
struct Shared {
    marks: Mutex<LowWaterMarks>,
    /// The owner wants everything paused.
    paused: AtomicBool,
}

impl GroupConsumer {
    /// Joins a group. `topics` are names, or regular expressions that begin with `^`. The receiver ends
    /// when the member does.
    pub fn start(
        config: &BusConfig,
        group: &str,
        topics: &[String],
        options: ConsumerOptions,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<(Self, mpsc::Receiver<Event>), BusError> {
        let watch = Watch::new(config, metrics, "group", LagOf::Committed, topics.to_vec());
        let shared = Arc::new(Shared::default());
        let (events, receiver) = mpsc::channel(options.queue.div_ceil(options.batch.max(1)).max(2));
        let consumer = group::join(config, group, topics, &options, &watch, &shared)?;
        let member = member::Member::new(consumer, Arc::clone(&shared), options, events);
        let thread = PollThread::start("bus-group", watch, Some(tasks), move |stop| member.run(stop))?;
        Ok((Self { shared, thread }, receiver))
    }

    /// The record was handled. When everything below it is finished too, the next commit covers it.
    /// Has no effect for a partition that was revoked since.
    pub fn finish(&self, topic: &str, partition: i32, offset: i64) {
        if let Some(mark) = self.shared.marks.lock().get_mut(topic, partition) {
            mark.finish(offset);
        }
    }

    /// Fetches nothing more until [`GroupConsumer::resume`]; partitions that are assigned meanwhile are
    /// paused too. What is in the queue stays there.
    pub fn pause(&self) {
        self.shared.paused.store(true, Ordering::Release);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.shared.paused.store(false, Ordering::Release);
    }

    /// Commits the low-water marks and leaves the group. Drop or drain the receiver beside it: what is in
    /// the queue is not waited for.
    pub async fn close(self, deadline: Duration) -> Result<(), BusError> {
        self.thread.close(deadline).await
    }
}

impl fmt::Debug for GroupConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupConsumer")
            .field("thread", &self.thread)
            .finish_non_exhaustive()
    }
}
