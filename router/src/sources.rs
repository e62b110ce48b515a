//! Sources: where a record came from, which is where its offset is let go.
//!
//! In: records that were handled. Out: finished offsets, each at its own source. Always: what came from the
//! schedule has no offset; its row is taken out of the store instead.

use std::{sync::Arc, time::Duration};

use carillon_bus::{BusError, Event, Follower, GroupConsumer, Record, consumer::Handle};
use carillon_store::Scheduled;
use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc};

use crate::{overflow::Consumers, schedule::DueNow, work::Item};

/// Where a record came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The group of the notifications.
    Main,
    /// The group of what was put back in.
    Redrive,
    /// The ladder's group; it was due then, Unix milliseconds.
    Ladder { due_ms: u64 },
    /// The follower of the overflow topic.
    Overflow,
    /// The store's schedule, this row.
    Schedule(Scheduled),
}

/// Every source of records, to let go of them.
pub(crate) struct Sources {
    pub(crate) main: GroupConsumer,
    /// A group of its own: members share the partitions of all topics of a group by their number alone, and in one with the
    /// notifications some had all of those and others had none.
    pub(crate) redrive: GroupConsumer,
    pub(crate) ladder: GroupConsumer,
    /// Of the overflow: it has the partitions whose numbers are those of the notifications partitions here.
    pub(crate) follower: Follower,
    /// Something of the overflow was finished.
    pub(crate) drained: Notify,
}

/// What the sources hand over.
pub(crate) struct Inlets {
    pub(crate) main: mpsc::Receiver<Event>,
    pub(crate) redrive: mpsc::Receiver<Event>,
    pub(crate) ladder: mpsc::Receiver<Event>,
    pub(crate) overflow: mpsc::Receiver<Event>,
    /// What is due of the schedule. When it is full, the scanner waits.
    pub(crate) due: mpsc::Receiver<DueNow>,
}

impl Sources {
    /// This record was handled.
    pub(crate) fn finish(&self, record: &Record, source: &Source) {
        if let Some(group) = self.group(source) {
            group.finish(&record.topic, record.partition, record.offset);
        }
        if *source == Source::Overflow {
            self.drained.notify_one();
        }
    }

    /// This record was not begun, and another router will get it.
    pub(crate) fn let_go(&self, record: &Record, source: &Source) {
        if let Some(group) = self.group(source) {
            group.let_go(&record.topic, record.partition, record.offset);
        }
    }

    /// Commits and leaves the groups.
    pub(crate) async fn close(self, deadline: Duration) -> Result<(), BusError> {
        let (main, redrive, ladder, follower) = tokio::join!(
            self.main.close(deadline),
            self.redrive.close(deadline),
            self.ladder.close(deadline),
            self.follower.close(deadline)
        );
        main.and(redrive).and(ladder).and(follower)
    }

    fn group(&self, source: &Source) -> Option<&Handle> {
        match source {
            Source::Main => Some(&self.main),
            Source::Redrive => Some(&self.redrive),
            Source::Ladder { .. } => Some(&self.ladder),
            Source::Overflow => Some(&self.follower),
            Source::Schedule(_) => None,
        }
    }

    /// Nothing more is fetched, or it is again.
    pub(crate) fn pause(&self, pause: bool) {
        for group in [&*self.main, &*self.redrive, &*self.ladder, &*self.follower] {
            if pause {
                group.pause();
            } else {
                group.resume();
            }
        }
    }
}

impl Consumers for Arc<Sources> {
    fn follow(&self, partitions: &[i32]) {
        self.follower.assign(partitions);
    }

    fn unfollow(&self, partitions: &[i32]) {
        // The owner goes on meanwhile.
        let _ = self.follower.unassign(partitions).now_or_never();
    }

    fn begun_at(&self, partition: i32) -> Option<i64> {
        self.follower.begun_at(partition)
    }

    fn low_water(&self, topic: &str, partition: i32) -> Option<i64> {
        self.follower.low_water(topic, partition)
    }

    fn finish(&self, item: &Item) {
        Sources::finish(self, &item.record, &item.source);
    }

    fn let_go(&self, item: &Item) {
        Sources::let_go(self, &item.record, &item.source);
    }
}
