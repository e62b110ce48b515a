//! What is on its way: which notifications this router has begun and not finished, and where they stand.
//!
//! In: batches that begin and end. Out: whether a record is the first of its notification here.
//! Always: only a record behind the first, in the same partition, is not the first; its offset cannot be
//! committed before the first one's, so that dropping it loses nothing in a crash.

use std::collections::{HashMap, hash_map::Entry};

use carillon_bus::Record;
use carillon_schemas::{NotificationId, TenantId};
use carillon_store::NewNotification;
use parking_lot::Mutex;

use crate::work::Work;

type Key = (TenantId, NotificationId);

/// The notifications on their way. Bounded by the batches that the pipeline's queues hold.
#[derive(Default)]
pub(crate) struct OnTheWay(Mutex<HashMap<Key, Place>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    partition: i32,
    offset: i64,
}

impl OnTheWay {
    /// A batch begins. Says of each record whether it is the first of its notification.
    pub(crate) fn enter(&self, work: &Work) -> Vec<bool> {
        let mut places = self.0.lock();
        let records = work.records.iter().zip(&work.news);
        records
            .map(|(record, new)| {
                let here = place(record);
                match places.entry(key(new)) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(here);
                        true
                    }
                    Entry::Occupied(first) => {
                        let first = first.get();
                        first.partition != here.partition || first.offset >= here.offset
                    }
                }
            })
            .collect()
    }

    /// A batch ends.
    pub(crate) fn leave(&self, work: &Work) {
        let mut places = self.0.lock();
        let on_the_way = work.records.iter().zip(&work.news);
        let ended = work
            .ended
            .iter()
            .filter_map(|ended| Some((&ended.record, ended.new.as_ref()?)));
        for (record, new) in on_the_way.chain(ended) {
            if let Entry::Occupied(first) = places.entry(key(new))
                && *first.get() == place(record)
            {
                first.remove();
            }
        }
    }
}

fn key(new: &NewNotification) -> Key {
    (new.envelope.tenant_id.clone(), new.envelope.notification_id)
}

fn place(record: &Record) -> Place {
    Place {
        partition: record.partition,
        offset: record.offset,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{open::open, work::End, work::sample};

    fn work(records: Vec<Record>) -> Work {
        Work::open(records, |r| open(r, &Arc::from("r1"), 0), |_| End::Done)
    }

    /// The same notification at another place.
    fn again(partition: i32, offset: i64) -> Record {
        let mut record = sample::record("acme", 0);
        record.partition = partition;
        record.offset = offset;
        record
    }

    #[test]
    fn a_copy_behind_the_first_in_its_partition_is_not_the_first() {
        let on_the_way = OnTheWay::default();
        assert_eq!(
            on_the_way.enter(&work(vec![again(0, 0), again(0, 1)])),
            [true, false]
        );
        assert_eq!(
            on_the_way.enter(&work(vec![again(0, 2), again(1, 9)])),
            [false, true]
        );
        let mut other = sample::record("globex", 0);
        other.offset = 3;
        assert_eq!(on_the_way.enter(&work(vec![other])), [true]);
    }

    #[test]
    fn when_the_first_has_left_the_next_is_the_first() {
        let on_the_way = OnTheWay::default();
        let mut first = work(vec![again(0, 0)]);
        let second = work(vec![again(0, 1)]);
        on_the_way.enter(&first);
        assert_eq!(on_the_way.enter(&second), [false]);
        on_the_way.leave(&second);
        assert_eq!(on_the_way.enter(&work(vec![again(0, 2)])), [false]);
        first.end(vec![(0, End::Done)], false);
        on_the_way.leave(&first);
        assert_eq!(on_the_way.enter(&work(vec![again(0, 3)])), [true]);
    }

    #[test]
    fn a_record_read_again_after_a_rebalance_is_the_first_again() {
        let on_the_way = OnTheWay::default();
        on_the_way.enter(&work(vec![again(0, 0)]));
        assert_eq!(on_the_way.enter(&work(vec![again(0, 0)])), [true]);
    }
}
