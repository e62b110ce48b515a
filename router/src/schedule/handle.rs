//! What the pipeline and the schedule tell each other.
//!
//! In: partitions that come and go, notifications that are settled. Out: what to look at, and what is on its way.
//! Always: of a partition that went, nothing is on its way here.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use carillon_schemas::{NotificationId, TenantId};
use carillon_store::Scheduled;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct ScheduleHandle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The partitions that are here, with what is due of them and on its way.
    owned: Mutex<BTreeMap<i32, HashSet<Key>>>,
    changed: Notify,
    /// When the schedule looks next, Unix milliseconds.
    next_look_ms: AtomicU64,
}

/// One row of a partition: a notification may be scheduled anew for another time.
type Key = (u64, TenantId, NotificationId);

fn key(place: &Scheduled) -> Key {
    (place.due_at_ms, place.tenant.clone(), place.id)
}

impl ScheduleHandle {
    /// These partitions of the notifications topic are here now.
    pub(crate) fn own(&self, partitions: impl IntoIterator<Item = i32>) {
        let mut owned = self.0.owned.lock();
        for partition in partitions {
            owned.entry(partition).or_default();
        }
        drop(owned);
        self.0.changed.notify_one();
    }

    /// These are not, or not any more. What is due of them and in the pipeline goes on there; another router may
    /// take it up, too.
    pub(crate) fn disown(&self, partitions: impl IntoIterator<Item = i32>) {
        let mut owned = self.0.owned.lock();
        for partition in partitions {
            owned.remove(&partition);
        }
    }

    /// Rows were put into the schedule. It looks by itself once a second, and at once when one is due before that.
    pub(crate) fn scheduled(&self, rows: &[Scheduled]) {
        let next_ms = self.0.next_look_ms.load(Ordering::Acquire);
        if rows.iter().any(|row| row.due_at_ms < next_ms) {
            self.0.changed.notify_one();
        }
    }

    /// What was due is settled, and its row is taken out.
    pub(crate) fn settled(&self, place: &Scheduled) {
        let mut owned = self.0.owned.lock();
        let Some(on_their_way) = owned.get_mut(&place.partition) else {
            return;
        };
        // Whoever waited for room looks again.
        if on_their_way.remove(&key(place)) && on_their_way.is_empty() {
            self.0.changed.notify_one();
        }
    }
}

impl ScheduleHandle {
    pub(super) fn owned(&self) -> Vec<i32> {
        self.0.owned.lock().keys().copied().collect()
    }

    /// It will look then.
    pub(super) fn looks_next(&self, at_ms: u64) {
        self.0.next_look_ms.store(at_ms, Ordering::Release);
    }

    /// Resolves when something changed since the last time it did.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.0.changed.notified()
    }

    pub(super) fn on_their_way(&self, partition: i32) -> usize {
        self.0.owned.lock().get(&partition).map_or(0, HashSet::len)
    }

    pub(super) fn is_on_its_way(&self, place: &Scheduled) -> bool {
        let owned = self.0.owned.lock();
        owned
            .get(&place.partition)
            .is_some_and(|on_their_way| on_their_way.contains(&key(place)))
    }

    /// It is on its way from here on. `false` when its partition is not here.
    pub(super) fn enter(&self, place: &Scheduled) -> bool {
        let mut owned = self.0.owned.lock();
        owned
            .get_mut(&place.partition)
            .is_some_and(|on_their_way| on_their_way.insert(key(place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32, due_at_ms: u64) -> Scheduled {
        Scheduled {
            partition,
            due_at_ms,
            tenant: "acme".parse().unwrap(),
            id: NotificationId::from_bytes([1; 16]),
        }
    }

    #[test]
    fn one_is_on_its_way_once_until_it_is_settled() {
        let handle = ScheduleHandle::default();
        assert!(!handle.enter(&place(0, 5)));
        handle.own([0, 2]);
        assert_eq!(handle.owned(), [0, 2]);
        assert!(handle.enter(&place(0, 5)) && handle.enter(&place(0, 6)));
        assert!(!handle.enter(&place(0, 5)) && handle.is_on_its_way(&place(0, 5)));
        handle.settled(&place(0, 5));
        assert_eq!(handle.on_their_way(0), 1);
        assert!(handle.enter(&place(0, 5)));
    }

    #[test]
    fn of_a_partition_that_went_nothing_is_on_its_way() {
        let handle = ScheduleHandle::default();
        handle.own([0]);
        assert!(handle.enter(&place(0, 5)));
        handle.disown([0]);
        handle.settled(&place(0, 5));
        handle.own([0]);
        assert!(!handle.is_on_its_way(&place(0, 5)) && handle.enter(&place(0, 5)));
    }
}
