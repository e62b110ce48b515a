//! The follower: a consumer of chosen partitions, with committed offsets of its own and no group to join.
//!
//! In: partitions of one topic that the owner wants, changing while it runs. Out: what a member of a group
//! gets. Always: who may read a partition is the owner's business: two followers that read the same one at
//! once overwrite each other's commits.

use std::{collections::BTreeMap, ops::Deref, sync::Arc, time::Duration};

use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use parking_lot::Mutex;
use rdkafka::config::FromClientConfigAndContext;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::{
    BusConfig, BusError, ConsumerOptions,
    client::{Watch, reader_settings},
    consumer::{Event, Handle, callbacks::Joined, chosen::Chosen, reader::Source},
    lag::LagOf,
};

/// How much longer than the owner's patience the end of a partition is waited for: its commit, and the poll
/// thread's turn.
const GRACE: Duration = Duration::from_millis(1500);

/// A consumer of chosen partitions. It promises what a [`crate::GroupConsumer`] does: at least once, starting
/// at what the group has committed, with bounds on what is in flight. Dropping it ends it in the background;
/// [`Follower::close`] waits for that.
#[derive(Debug)]
pub struct Follower {
    handle: Handle,
    wishes: Arc<Wishes>,
    patience: Duration,
}

impl Follower {
    /// Starts a follower of a topic that reads nothing yet. Nobody may be a member of `group`: it only names the
    /// committed offsets. The receiver ends when the follower does.
    pub fn start(
        config: &BusConfig,
        group: &str,
        topic: &str,
        options: ConsumerOptions,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<(Self, mpsc::Receiver<Event>), BusError> {
        let watch = Watch::new(
            config,
            metrics,
            "follower",
            LagOf::Committed,
            vec![topic.to_owned()],
        );
        let settings = reader_settings(config, group, options.fetch_ahead_kib, options.start)?;
        let connect =
            |callbacks| Joined::from_config_and_context(&settings, callbacks).map_err(|e| BusError::sort(&e));
        let wishes = Arc::new(Wishes::default());
        let source = Source::Chosen(Chosen::new(topic, Arc::clone(&wishes), options.start));
        let (handle, receiver) = Handle::start("bus-follower", watch, &options, source, tasks, connect)?;
        let follower = Self {
            handle,
            wishes,
            patience: options.hand_over + GRACE,
        };
        Ok((follower, receiver))
    }

    /// Wants these partitions beside those that it has. [`Event::Assigned`] tells when one really begins; until
    /// Kafka says where, it is asked again and again.
    pub fn assign(&self, partitions: &[i32]) {
        self.wishes.assign(partitions);
    }

    /// Wants these no longer. Returns when what the owner had begun of them was finished or let go (but after
    /// [`ConsumerOptions::hand_over`] at the latest; the owner must go on meanwhile) and committed (but after
    /// another second at the latest). [`Event::Revoked`] comes when that begins, behind their last records;
    /// while it lasts, the other partitions stand still.
    pub async fn unassign(&self, partitions: &[i32]) {
        let Some(ended) = self.wishes.unassign(partitions) else {
            return;
        };
        // It is told by dropping the other end.
        if tokio::time::timeout(self.patience, ended).await.is_err() {
            warn!("partitions are let go before their end was told");
        }
    }

    /// The offset at which a partition began that is assigned now: known when [`Event::Assigned`] is told. None again
    /// from [`Follower::unassign`] on.
    pub fn begun_at(&self, partition: i32) -> Option<i64> {
        self.wishes.begun_at(partition)
    }

    /// Commits the low-water marks and ends. Drop or drain the receiver beside it: what is in the queue is not
    /// waited for.
    pub async fn close(self, deadline: Duration) -> Result<(), BusError> {
        self.handle.close(deadline).await
    }
}

impl Deref for Follower {
    type Target = Handle;
    fn deref(&self) -> &Handle {
        &self.handle
    }
}

/// A partition that is wanted. Wanting it anew after it was let go is another wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) partition: i32,
    number: u64,
}

/// What the owner wants, and where that began.
#[derive(Debug, Default)]
pub(super) struct Wishes(Mutex<Wanted>);

#[derive(Debug, Default)]
struct Wanted {
    count: u64,
    wishes: BTreeMap<i32, Wished>,
    /// Bounded by the owner's calls; dropping them tells.
    waiting: Vec<oneshot::Sender<()>>,
    closed: bool,
}

/// A wish, and where it began. With the wish goes what is known of it, so that what is wanted anew begins anew.
#[derive(Debug)]
struct Wished {
    wish: Wish,
    begun_at: Option<i64>,
}

/// What differs between what is wanted and what is read.
pub(super) struct Changes {
    pub(super) begin: Vec<Wish>,
    pub(super) end: Vec<Wish>,
    pub(super) waiting: Vec<oneshot::Sender<()>>,
}

impl Wishes {
    fn assign(&self, partitions: &[i32]) {
        let wanted = &mut *self.0.lock();
        for &partition in partitions {
            wanted.wishes.entry(partition).or_insert_with(|| {
                wanted.count += 1;
                Wished {
                    wish: Wish {
                        partition,
                        number: wanted.count,
                    },
                    begun_at: None,
                }
            });
        }
    }

    /// What ends when they have ended; none when they have.
    fn unassign(&self, partitions: &[i32]) -> Option<oneshot::Receiver<()>> {
        let mut wanted = self.0.lock();
        for partition in partitions {
            wanted.wishes.remove(partition);
        }
        if wanted.closed {
            return None;
        }
        let (tell, ended) = oneshot::channel();
        wanted.waiting.push(tell);
        Some(ended)
    }

    fn begun_at(&self, partition: i32) -> Option<i64> {
        self.0.lock().wishes.get(&partition)?.begun_at
    }

    /// What is to begin and to end where `runs` are read.
    pub(super) fn look(&self, runs: &[Wish]) -> Changes {
        let mut wanted = self.0.lock();
        let waiting = std::mem::take(&mut wanted.waiting);
        let end: Vec<_> = runs.iter().filter(|run| !wanted.has(run)).copied().collect();
        let wishes = wanted.wishes.values().map(|wished| wished.wish);
        Changes {
            begin: wishes.filter(|wish| !runs.contains(wish)).collect(),
            end,
            waiting,
        }
    }

    /// Those of these that are wanted still.
    pub(super) fn still(&self, mut wishes: Vec<Wish>) -> Vec<Wish> {
        let wanted = self.0.lock();
        wishes.retain(|wish| wanted.has(wish));
        wishes
    }

    /// Where these began. What is not wanted any more, or anew since, has not begun.
    pub(super) fn begun(&self, starts: impl Iterator<Item = (Wish, i64)>) {
        let mut wanted = self.0.lock();
        for (wish, from) in starts {
            let wished = wanted.wishes.get_mut(&wish.partition);
            if let Some(wished) = wished.filter(|wished| wished.wish == wish) {
                wished.begun_at = Some(from);
            }
        }
    }

    /// Nothing begins or ends any more.
    pub(super) fn close(&self) {
        let mut wanted = self.0.lock();
        wanted.closed = true;
        wanted.wishes.clear();
        wanted.waiting.clear();
    }
}

impl Wanted {
    fn has(&self, wish: &Wish) -> bool {
        let wished = self.wishes.get(&wish.partition);
        wished.is_some_and(|wished| wished.wish == *wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_anew_ends_before_it_begins_again() {
        let wishes = Wishes::default();
        wishes.assign(&[3, 5]);
        let first = wishes.look(&[]).begin;
        assert_eq!(first.iter().map(|w| w.partition).collect::<Vec<_>>(), [3, 5]);
        wishes.assign(&[3]);
        assert!(wishes.look(&first).begin.is_empty());
        wishes.begun(first.iter().copied().zip([7, 9]));
        let mut ended = wishes.unassign(&[3]).unwrap();
        wishes.assign(&[3]);
        assert_eq!((wishes.begun_at(3), wishes.begun_at(5)), (None, Some(9)));
        // It was on its way to begin when it was let go.
        wishes.begun(first.iter().copied().zip([7, 9]));
        assert_eq!(wishes.begun_at(3), None);
        let changes = wishes.look(&first);
        assert_eq!((changes.end.len(), changes.begin.len()), (1, 1));
        assert_ne!(changes.end, changes.begin);
        assert_eq!(wishes.still(first.clone()), first[1..]);
        assert_eq!(ended.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        drop(changes.waiting);
        assert_eq!(ended.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        wishes.close();
        assert!(wishes.unassign(&[3]).is_none());
    }
}
