//! Taking over: what the owner before left in the overflow of a partition.
//!
//! In: partitions that were assigned. Out: whose records stand in their overflow, and how far the partition itself is
//! finished. Always: what is asked is asked after the partition was assigned; trouble of Kafka is waited out.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use carillon_bus::{Admin, BusError, RangeReader, Record};
use carillon_schemas::{TenantId, headers};
use tokio::sync::mpsc;

use super::place_of;
use crate::hold::{Attempts, Dependency, Holds, Site};

/// Most bytes of the overflow that are looked through at once.
const BYTES: usize = 4 * 1024 * 1024;
/// How long that may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most partitions that are asked about at once.
const AT_ONCE: usize = 64;

/// A partition whose overflow is to be looked through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TakeOver {
    pub(crate) partition: i32,
    /// Which taking over of it this is.
    pub(crate) number: u64,
    /// Where the follower begins.
    pub(crate) from: i64,
}

/// What stands in the overflow of a partition.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) partition: i32,
    pub(crate) number: u64,
    /// The lowest unfinished record of the notifications partition.
    pub(crate) from: i64,
    /// Where that partition ended after the overflow was looked through.
    pub(crate) end: i64,
    /// Tenant, offset, and place in the notifications partition. Of a tenant's records that keep no order with what
    /// is unfinished there, only the last.
    pub(crate) records: Vec<(TenantId, i64, Option<i64>)>,
}

/// The room.
pub(crate) struct Taker {
    pub(crate) admin: Admin,
    pub(crate) reader: RangeReader,
    pub(crate) group: String,
    pub(crate) notifications: String,
    pub(crate) overflow: String,
    pub(crate) holds: Arc<Holds>,
}

impl Taker {
    /// Looks through partition after partition until there are no more.
    pub(crate) async fn run(&self, mut asked: mpsc::Receiver<TakeOver>, found: mpsc::Sender<Found>) {
        let mut batch = Vec::with_capacity(AT_ONCE);
        while asked.recv_many(&mut batch, AT_ONCE).await > 0 {
            let mut attempts = self.holds.attempts(Site::TakeOver);
            let committed = self
                .ask(&mut attempts, || {
                    self.admin.committed(&self.group, &self.notifications)
                })
                .await;
            let committed: HashMap<_, _> = committed.into_iter().collect();
            let overflow = self.ends(&self.overflow, &mut attempts).await;
            let mut looked = Vec::with_capacity(batch.len());
            for take_over in batch.drain(..) {
                let partition = take_over.partition;
                let from = committed.get(&partition).copied().flatten().unwrap_or(0);
                let to = overflow.get(&partition).copied().unwrap_or(0);
                let records = self.look(take_over, to, from, &mut attempts).await;
                looked.push((take_over, from, records));
            }
            // After all that was found: it came from below.
            let ends = self.ends(&self.notifications, &mut attempts).await;
            for (
                TakeOver {
                    partition, number, ..
                },
                from,
                records,
            ) in looked
            {
                let end = ends.get(&partition).copied().unwrap_or(0);
                let answer = Found {
                    partition,
                    number,
                    from,
                    end,
                    records,
                };
                if found.send(answer).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Where the partitions of a topic end.
    async fn ends(&self, topic: &str, attempts: &mut Attempts<'_>) -> HashMap<i32, i64> {
        let ends = self.ask(attempts, || self.admin.ends(topic)).await;
        ends.into_iter()
            .map(|(partition, _, end)| (partition, end))
            .collect()
    }

    async fn ask<T, F>(&self, attempts: &mut Attempts<'_>, ask: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, BusError>>,
    {
        loop {
            match ask().await {
                Ok(answer) => {
                    attempts.succeeded(Dependency::Kafka);
                    return answer;
                }
                Err(error) => attempts.wait(Dependency::Kafka, &error.to_string()).await,
            }
        }
    }

    async fn look(
        &self,
        TakeOver { partition, from, .. }: TakeOver,
        to: i64,
        unread: i64,
        attempts: &mut Attempts<'_>,
    ) -> Vec<(TenantId, i64, Option<i64>)> {
        let mut found = Seen::default();
        let mut next = from;
        while next < to {
            match self.reader.read(partition, next, to, BYTES, DEADLINE).await {
                Ok(page) => {
                    attempts.succeeded(Dependency::Kafka);
                    page.records
                        .iter()
                        .for_each(|record| found.see(record, &self.notifications, unread));
                    // A range that holds nothing at its end is through.
                    if page.records.is_empty() && page.next <= next {
                        break;
                    }
                    next = page.next.max(next);
                }
                Err(error) => attempts.wait(Dependency::Kafka, &error.to_string()).await,
            }
        }
        found.into_records()
    }
}

/// What was seen: bounded by the tenants, and by what was in flight when the partition was taken over.
#[derive(Default)]
pub(crate) struct Seen {
    last: BTreeMap<TenantId, i64>,
    unread: Vec<(TenantId, i64, Option<i64>)>,
}

impl Seen {
    /// A record of the overflow, in order. The notifications partition is unread from `unread` on.
    pub(crate) fn see(&mut self, record: &Record, notifications: &str, unread: i64) {
        let tenant = record
            .headers
            .text(headers::TENANT)
            .and_then(|text| text.parse::<TenantId>().ok());
        let Some(tenant) = tenant else { return };
        let place = place_of(record, notifications).filter(|place| *place >= unread);
        match place {
            Some(place) => self.unread.push((tenant, record.offset, Some(place))),
            None => {
                self.last.insert(tenant, record.offset);
            }
        }
    }

    /// What [`Found`] tells of them.
    pub(crate) fn into_records(self) -> Vec<(TenantId, i64, Option<i64>)> {
        let last = self
            .last
            .into_iter()
            .map(|(tenant, offset)| (tenant, offset, None));
        last.chain(self.unread).collect()
    }
}
