//! Sources: where a record came from, which is where its offset is let go.
//!
//! In: records that were handled. Out: finished offsets, each at its own source. Always: what came from the
//! schedule has no offset; its row is taken out of the store instead.

use std::time::Duration;

use carillon_bus::{BusError, Event, GroupConsumer, Record};
use carillon_store::Scheduled;
use tokio::sync::mpsc;

use crate::schedule::DueNow;

/// Where a record came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The main group: notifications and redrive.
    Main,
    /// The ladder's group; it was due then, Unix milliseconds.
    Ladder { due_ms: u64 },
    /// The follower of the overflow topic.
    #[allow(dead_code, reason = "read once the overflow is")]
    Overflow,
    /// The store's schedule, this row.
    Schedule(Scheduled),
}

/// Every source of records, to let go of them.
pub(crate) struct Sources {
    pub(crate) main: GroupConsumer,
    pub(crate) ladder: GroupConsumer,
}

/// What the sources hand over.
pub(crate) struct Inlets {
    pub(crate) main: mpsc::Receiver<Event>,
    pub(crate) ladder: mpsc::Receiver<Event>,
    /// What is due of the schedule. When it is full, the scanner waits.
    pub(crate) due: mpsc::Receiver<DueNow>,
}

impl Sources {
    /// This record was handled.
    pub(crate) fn finish(&self, record: &Record, source: &Source) {
        if let Some(group) = self.group(source) {
            group.finish(&record.topic, record.partition, record.offset);
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
        let (main, ladder) = tokio::join!(self.main.close(deadline), self.ladder.close(deadline));
        main.and(ladder)
    }

    fn group(&self, source: &Source) -> Option<&GroupConsumer> {
        match source {
            Source::Main => Some(&self.main),
            Source::Ladder { .. } => Some(&self.ladder),
            Source::Overflow | Source::Schedule(_) => None,
        }
    }

    /// Nothing more is fetched, or it is again.
    pub(crate) fn pause(&self, pause: bool) {
        for group in [&self.main, &self.ladder] {
            if pause {
                group.pause();
            } else {
                group.resume();
            }
        }
    }
}
