//! Work: what is on its way through the rooms, one by one and in batches.
//!
//! In: records that were opened. Out: the same records, each either on its way or ended.
//! Always: no record is in both places or in none; those on their way keep their order.

use carillon_bus::{Record, TopicPartition};
use carillon_schemas::{NotificationId, Stream, TenantId, notification::Priority};
use carillon_store::{Head, NewNotification};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use crate::{sources::Source, travel::Travel, verdict::Reason};

/// A record that can be handled.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) record: Record,
    pub(crate) new: NewNotification,
    pub(crate) travel: Travel,
    pub(crate) source: Source,
}

/// Which of its tenant's lanes an item waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum LaneClass {
    /// As it came.
    Ordinary,
    /// Put back in from the dead letters.
    Redrive,
}

impl Item {
    /// Whose it is.
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.new.envelope.tenant_id
    }

    /// Which of its tenant's lanes it waits in.
    pub(crate) fn class(&self) -> LaneClass {
        match self.travel.redrive {
            0 => LaneClass::Ordinary,
            _ => LaneClass::Redrive,
        }
    }

    /// The stream whose order it is part of.
    pub(crate) fn stream(&self) -> &Stream {
        &self.new.stream
    }

    /// How urgent it is among its tenant's.
    pub(crate) fn priority(&self) -> Priority {
        self.new.envelope.priority
    }

    /// What it weighs: the bytes of its key and its value.
    pub(crate) fn bytes(&self) -> usize {
        self.record.size()
    }

    /// Whether it came from one of these partitions.
    pub(crate) fn is_of(&self, partitions: &[TopicPartition]) -> bool {
        let record = &self.record;
        let of = |p: &TopicPartition| p.partition == record.partition && p.topic == record.topic;
        partitions.iter().any(of)
    }
}

/// An item without its notification.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) record: Record,
    pub(crate) travel: Travel,
    pub(crate) source: Source,
    /// What the store knew of it, where it was asked.
    pub(crate) head: Option<Head>,
}

/// A batch. `ways[i]` is the way of `news[i]`.
pub(crate) struct Work {
    pub(crate) taken: Instant,
    pub(crate) ways: Vec<Way>,
    pub(crate) news: Vec<NewNotification>,
    pub(crate) ended: Vec<Ended>,
    /// Whether they are checks: what they are about was stored when it was dispatched first.
    pub(crate) checks: bool,
    /// Its part of what may be on the way; given back when it is dropped.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// A record whose handling ended before its dispatch.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) way: Way,
    /// The notification, where the record could be opened.
    pub(crate) new: Option<NewNotification>,
    pub(crate) end: End,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing is left to do.
    Done,
    /// Its time to live is over: to be told.
    Expired,
    /// A newer one took its place: to be told.
    Collapsed,
    /// It waits in the schedule until this moment, Unix milliseconds.
    Scheduled { due_ms: u64 },
    /// It waits on the ladder for its next attempt.
    Retry(Reason),
    /// It is to become a dead letter.
    Dead(Reason),
}

impl Work {
    /// A batch of items of which either all are checks or none is, with what ended before it began.
    pub(crate) fn begin(items: Vec<Item>, ended: Vec<Ended>, checks: bool) -> Self {
        let mut work = Self {
            taken: Instant::now(),
            ways: Vec::with_capacity(items.len()),
            news: Vec::with_capacity(items.len()),
            ended,
            checks,
            room: None,
        };
        for item in items {
            work.ways.push(Way {
                record: item.record,
                travel: item.travel,
                source: item.source,
                head: None,
            });
            work.news.push(item.new);
        }
        work
    }

    /// How many records it has, ended ones too.
    pub(crate) fn len(&self) -> usize {
        self.ways.len() + self.ended.len()
    }

    /// Everything that is on its way.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Way, &NewNotification)> {
        self.ways.iter().zip(&self.news)
    }

    /// The way of every record, ended ones too.
    pub(crate) fn all_ways(&self) -> impl Iterator<Item = &Way> {
        self.ways.iter().chain(self.ended.iter().map(|ended| &ended.way))
    }

    /// Every record with the notification that it holds, ended ones too.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&Way, TenantId, NotificationId)> {
        let ended = self.ended.iter();
        let ended = ended.filter_map(|ended| Some((&ended.way, ended.new.as_ref()?)));
        self.iter().chain(ended).map(|(way, new)| {
            let envelope = &new.envelope;
            (way, envelope.tenant_id.clone(), envelope.notification_id)
        })
    }

    /// Ends some that are on their way. `ends` is sorted by index.
    pub(crate) fn end(&mut self, ends: Vec<(usize, End)>) {
        if ends.is_empty() {
            return;
        }
        let mut ends = ends.into_iter().peekable();
        let ways = std::mem::take(&mut self.ways);
        let news = std::mem::take(&mut self.news);
        for (at, (way, new)) in ways.into_iter().zip(news).enumerate() {
            match ends.next_if(|(index, _)| *index == at) {
                Some((_, end)) => self.ended.push(Ended {
                    way,
                    new: Some(new),
                    end,
                }),
                None => {
                    self.ways.push(way);
                    self.news.push(new);
                }
            }
        }
    }
}

/// Records for tests.
#[cfg(test)]
pub(crate) mod sample {
    use std::sync::Arc;

    use bytes::Bytes;
    use carillon_bus::Record;
    use carillon_schemas::headers::{self, Headers};

    use super::Item;
    use crate::{open::open, sources::Source, travel::Travel};

    /// A record of a tenant, good in every way.
    pub(crate) fn record(tenant: &str, offset: i64) -> Record {
        let value = format!(
            r#"{{"notification_id":"019a0000-0000-7000-8000-{offset:012x}","tenant_id":"{tenant}","channel":"alerts","audience":"channel","correlation_id":"req-7","accepted_at":1760000000123,"content":"disk almost full"}}"#
        );
        let mut headers = Headers::default();
        headers.set(headers::TENANT, Bytes::copy_from_slice(tenant.as_bytes()));
        Record {
            topic: "carillon.notifications.v1".into(),
            partition: 0,
            offset,
            timestamp_ms: None,
            key: Some(Bytes::copy_from_slice(tenant.as_bytes())),
            value: Some(Bytes::from(value)),
            headers,
        }
    }

    /// The same, opened.
    pub(crate) fn item(tenant: &str, offset: i64) -> Item {
        item_of(record(tenant, offset))
    }

    /// A good record, opened.
    pub(crate) fn item_of(record: Record) -> Item {
        Item {
            new: open(&record, &Arc::from("r1"), 0).unwrap(),
            travel: Travel::begins(0),
            source: Source::Main,
            record,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn offsets<'a>(ways: impl IntoIterator<Item = &'a Way>) -> Vec<usize> {
        ways.into_iter().map(|way| way.record.offset as usize).collect()
    }

    proptest! {
        #[test]
        fn ending_some_keeps_every_record_once_and_the_rest_in_order(n in 0usize..40, ended: BTreeSet<u8>) {
            let items = (0..n).map(|at| sample::item("acme", at as i64)).collect();
            let mut work = Work::begin(items, Vec::new(), false);
            let ended: Vec<usize> = ended.into_iter().map(usize::from).filter(|&at| at < n).collect();
            work.end(ended.iter().map(|&at| (at, End::Done)).collect());
            let rest: Vec<usize> = (0..n).filter(|at| !ended.contains(at)).collect();
            prop_assert_eq!(offsets(&work.ways), rest);
            prop_assert_eq!(offsets(work.ended.iter().map(|e| &e.way)), ended);
            prop_assert!(work.iter().all(|(way, new)| way.record.value.as_ref() == Some(&new.bytes)));
            prop_assert_eq!(work.len(), n);
        }
    }
}
