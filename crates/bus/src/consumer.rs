//! Consumers: at least once, with the owner saying when a record is finished.
//!
//! In: topics of a group, or partitions that the owner chooses. Out: batches of records and news of the
//! assignment, over a bounded queue.
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

use carillon_chassis::tasks::Tasks;
use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc;

use crate::{
    BusError, ConsumerOptions, Record, TopicPartition,
    client::Watch,
    consumer::{
        callbacks::{Callbacks, Joined},
        hand_over::HandOver,
        reader::{Reader, Source},
    },
    offsets::{self, LowWaterMarks},
    thread::PollThread,
};

pub use follower::Follower;
pub use group::GroupConsumer;

mod callbacks;
mod chosen;
mod errands;
mod flow;
mod follower;
mod group;
mod hand_over;
mod reader;
mod wakes;

/// Records of several partitions; those of one partition are in offset order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The records; none only where `passed` says something.
    pub records: Vec<Record>,
    /// How far partitions are read behind these records, where records were left out because the owner before had
    /// finished them.
    pub passed: Vec<(TopicPartition, i64)>,
}

/// What the owner of a consumer is told, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Records to handle; each must be finished.
    Records(Batch),
    /// These partitions are now this consumer's.
    Assigned(Vec<TopicPartition>),
    /// These go, or are gone. Records of theirs that are not begun yet should be let go
    /// ([`Handle::let_go`]): nobody waits for them then. What is begun may be finished: that is waited
    /// for, for a moment, so that the next owner does not repeat it; after that, finishing has no effect.
    Revoked(Vec<TopicPartition>),
}

/// What a [`GroupConsumer`] and a [`Follower`] have in common: the owner's side of the records.
pub struct Handle {
    watch: Arc<Watch>,
    shared: Arc<Shared>,
    thread: PollThread,
}

/// What the owner and the poll thread share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) marks: Mutex<LowWaterMarks>,
    /// A record was finished or let go, or notes were read.
    changed: Condvar,
    /// The owner wants everything paused.
    paused: AtomicBool,
}

impl Shared {
    /// Nobody will say what the owners before finished.
    fn hear_nothing(&self, partitions: &[TopicPartition]) {
        let mut marks = self.marks.lock();
        for partition in partitions {
            if let Some(mark) = marks.get_mut(&partition.topic, partition.partition) {
                mark.hear(None);
            }
        }
    }
}

impl Handle {
    /// Starts a consumer's threads. `connect` makes librdkafka's part of it.
    fn start(
        name: &'static str,
        watch: Arc<Watch>,
        options: &ConsumerOptions,
        source: Source,
        tasks: &Tasks,
        connect: impl FnOnce(Callbacks) -> Result<Joined, BusError>,
    ) -> Result<(Self, mpsc::Receiver<Event>), BusError> {
        let shared = Arc::new(Shared::default());
        let (events, receiver) = mpsc::channel(options.queue.div_ceil(options.batch.max(1)).max(2));
        let hand_over = HandOver::new(events);
        let callbacks = Callbacks::new(Arc::clone(&watch), Arc::clone(&shared), hand_over, options);
        let reader = Reader::new(connect(callbacks)?, Arc::clone(&shared), options.clone(), source);
        let watched = Arc::clone(&watch);
        let thread = PollThread::start(name, watched, Some(tasks), move |stop| reader.run(stop))?;
        let handle = Self {
            watch,
            shared,
            thread,
        };
        Ok((handle, receiver))
    }

    /// The record was handled. When everything below it is finished too, the next commit covers it.
    /// Has no effect for a partition that was revoked since.
    pub fn finish(&self, topic: &str, partition: i32, offset: i64) {
        if let Some(mark) = self.shared.marks.lock().get_mut(topic, partition) {
            mark.finish(offset);
        }
        self.shared.changed.notify_all();
    }

    /// The record will not be handled here, because its partition goes. It is not finished: whoever gets the
    /// partition handles it.
    pub fn let_go(&self, topic: &str, partition: i32, offset: i64) {
        if let Some(mark) = self.shared.marks.lock().get_mut(topic, partition) {
            mark.let_go(offset);
        }
        self.shared.changed.notify_all();
    }

    /// The lowest unfinished offset of a partition, or one above the highest that was read. None for a partition
    /// that is not read here, and before its first record.
    pub fn low_water(&self, topic: &str, partition: i32) -> Option<i64> {
        let marks = self.shared.marks.lock();
        marks.get(topic, partition).and_then(offsets::LowWaterMark::mark)
    }

    /// Whether a broker answered and none was lost since.
    pub fn connected(&self) -> bool {
        self.watch.connected()
    }

    /// Why no broker can be reached. None while one can be, or before the first attempt has ended.
    pub fn trouble(&self) -> Option<String> {
        self.watch.trouble()
    }

    /// Fetches nothing more until [`Handle::resume`]; partitions that are assigned meanwhile are
    /// paused too. What is in the queue stays there.
    pub fn pause(&self) {
        self.shared.paused.store(true, Ordering::Release);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.shared.paused.store(false, Ordering::Release);
    }

    async fn close(self, deadline: Duration) -> Result<(), BusError> {
        self.thread.close(deadline).await
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("thread", &self.thread)
            .finish_non_exhaustive()
    }
}
