//! What is on its way: which notifications this router has begun and not finished, and where they stand.
//!
//! In: batches that begin and end. Out: whether a record is the first of its notification here.
//! Always: only a record behind the first, in the same partition, is not the first; its offset cannot be
//! committed before the first one's, so that dropping it loses nothing in a crash.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use carillon_bus::Record;
use carillon_schemas::{NotificationId, TenantId};
use parking_lot::Mutex;

use crate::work::Work;

type Key = (TenantId, NotificationId);

/// The notifications on their way. Bounded by the batches that the pipeline's queues hold.
#[derive(Default)]
pub(crate) struct OnTheWay(Mutex<HashMap<Key, Place>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
}

impl OnTheWay {
    /// A batch begins. Says of each record whether it is the first of its notification.
    pub(crate) fn enter(&self, work: &Work) -> Vec<bool> {
        let mut places = self.0.lock();
        work.iter()
            .map(|(way, new)| {
                let here = place(&way.record);
                let key = (new.envelope.tenant_id.clone(), new.envelope.notification_id);
                match places.entry(key) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(here);
                        true
                    }
                    Entry::Occupied(first) => {
                        let first = first.get();
                        let same = first.partition == here.partition && first.topic == here.topic;
                        !same || first.offset >= here.offset
                    }
                }
            })
            .collect()
    }

    /// A batch ends.
    pub(crate) fn leave(&self, work: &Work) {
        let mut places = self.0.lock();
        for (way, tenant, id) in work.names() {
            if let Entry::Occupied(first) = places.entry((tenant, id))
                && *first.get() == place(&way.record)
            {
                first.remove();
            }
        }
    }
}

fn place(record: &Record) -> Place {
    Place {
        topic: Arc::clone(&record.topic),
        partition: record.partition,
        offset: record.offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{work::End, work::sample};

    fn work(records: Vec<Record>) -> Work {
        let items = records.into_iter().map(sample::item_of).collect();
        Work::begin(items, Vec::new(), false)
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
        let mut elsewhere = again(0, 4);
        elsewhere.topic = "carillon.redrive.v1".into();
        assert_eq!(on_the_way.enter(&work(vec![elsewhere])), [true]);
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
        first.end(vec![(0, End::Done)]);
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
