//! Work: a batch on its way through the rooms.
//!
//! In: records as they were taken. Out: the same records, each either on its way or ended.
//! Always: no record is in both places or in none; those on their way keep their order.

use carillon_bus::Record;
use carillon_store::NewNotification;
use tokio::time::Instant;

use crate::{poison::Poison, verdict::Reason};

/// A batch. `records[i]` is the record of `news[i]`.
pub(crate) struct Work {
    pub(crate) taken: Instant,
    pub(crate) records: Vec<Record>,
    pub(crate) news: Vec<NewNotification>,
    pub(crate) ended: Vec<Ended>,
}

/// A record whose handling ended before its dispatch.
pub(crate) struct Ended {
    pub(crate) record: Record,
    /// The notification, where the record could be opened.
    pub(crate) new: Option<NewNotification>,
    /// Whether the store has it.
    pub(crate) stored: bool,
    pub(crate) end: End,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing is left to do.
    Done,
    /// It is to become a dead letter.
    Dead(Reason),
}

impl Work {
    /// Opens a batch of records; `judge` says what poison comes to.
    pub(crate) fn open(
        records: Vec<Record>,
        open: impl Fn(&Record) -> Result<NewNotification, Poison>,
        judge: impl Fn(Poison) -> End,
    ) -> Self {
        let mut work = Self {
            taken: Instant::now(),
            records: Vec::with_capacity(records.len()),
            news: Vec::with_capacity(records.len()),
            ended: Vec::new(),
        };
        for record in records {
            match open(&record) {
                Ok(new) => {
                    work.records.push(record);
                    work.news.push(new);
                }
                Err(poison) => work.ended.push(Ended {
                    record,
                    new: None,
                    stored: false,
                    end: judge(poison),
                }),
            }
        }
        work
    }

    /// How many records it has, ended ones too.
    pub(crate) fn len(&self) -> usize {
        self.records.len() + self.ended.len()
    }

    /// Ends some that are on their way, `stored` or not. `ends` is sorted by index.
    pub(crate) fn end(&mut self, ends: Vec<(usize, End)>, stored: bool) {
        if ends.is_empty() {
            return;
        }
        let mut ends = ends.into_iter().peekable();
        let records = std::mem::take(&mut self.records);
        let news = std::mem::take(&mut self.news);
        for (at, (record, new)) in records.into_iter().zip(news).enumerate() {
            match ends.next_if(|(index, _)| *index == at) {
                Some((_, end)) => self.ended.push(Ended {
                    record,
                    new: Some(new),
                    stored,
                    end,
                }),
                None => {
                    self.records.push(record);
                    self.news.push(new);
                }
            }
        }
    }
}

/// Records for tests.
#[cfg(test)]
pub(crate) mod sample {
    use bytes::Bytes;
    use carillon_bus::Record;
    use carillon_schemas::headers::{self, Headers};

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
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::{
        open::open,
        verdict::{Outcome, Verdict, verdict},
    };
    use proptest::prelude::*;

    fn judge(poison: Poison) -> End {
        match verdict(Outcome::Poison(poison)) {
            Verdict::DeadLetter(reason) => End::Dead(reason),
            other => panic!("{other:?}"),
        }
    }

    fn offsets(records: &[Record]) -> Vec<i64> {
        records.iter().map(|r| r.offset).collect()
    }

    proptest! {
        #[test]
        fn poison_anywhere_leaves_the_others_unharmed_and_in_order(poisoned in prop::collection::vec(any::<bool>(), 0..60)) {
            let records = poisoned.iter().enumerate().map(|(at, &bad)| {
                let mut record = sample::record("acme", at as i64);
                if bad { record.value = Some("junk".into()); }
                record
            });
            let work = Work::open(records.collect(), |r| open(r, &Arc::from("r1"), 0), judge);
            let (bad, good): (Vec<_>, Vec<_>) = (0..poisoned.len()).partition(|&at| poisoned[at]);
            prop_assert_eq!(offsets(&work.records), good.iter().map(|&o| o as i64).collect::<Vec<_>>());
            prop_assert_eq!(work.ended.iter().map(|e| e.record.offset as usize).collect::<Vec<_>>(), bad);
            for (record, new) in work.records.iter().zip(&work.news) {
                prop_assert_eq!(record.value.as_ref(), Some(&new.bytes));
            }
        }

        #[test]
        fn ending_some_keeps_every_record_once_and_the_rest_in_order(n in 0usize..40, ended: BTreeSet<u8>) {
            let records = (0..n).map(|at| sample::record("acme", at as i64)).collect();
            let mut work = Work::open(records, |r| open(r, &Arc::from("r1"), 0), judge);
            let ended: Vec<usize> = ended.into_iter().map(usize::from).filter(|&at| at < n).collect();
            work.end(ended.iter().map(|&at| (at, End::Done)).collect(), true);
            let rest: Vec<i64> = (0..n).filter(|at| !ended.contains(at)).map(|at| at as i64).collect();
            prop_assert_eq!(offsets(&work.records), rest);
            prop_assert_eq!(work.ended.iter().map(|e| e.record.offset as usize).collect::<Vec<_>>(), ended);
            prop_assert_eq!(work.len(), n);
        }
    }
}
