//! Rows: what the store is told when a batch is settled.
//!
//! In: records that were dispatched or ended. Out: rows and facts. Always: pure; a fact's stamp is the redrive and
//! the attempt of the record.

use std::sync::Arc;

use carillon_bus::{Ack, Record};
use carillon_schemas::{
    cursor::Cursor,
    headers,
    status::{Stamp, Status},
};
use carillon_store::{Dispatched, Fact, NewNotification, Scheduled};

use crate::{
    sources::Source,
    work::{End, Ended, Way, Work},
};

/// What rows are made of beside the records.
pub(crate) struct Rows {
    pub(crate) generation: u16,
    pub(crate) node: Arc<str>,
    pub(crate) notifications: Arc<str>,
    pub(crate) overflow: Arc<str>,
}

impl Rows {
    /// A delivery that Kafka acknowledged.
    pub(crate) fn dispatched(&self, way: &Way, new: &NewNotification, ack: Ack, at_ms: u64) -> Dispatched {
        Dispatched {
            redrive: way.travel.redrive,
            tenant: new.envelope.tenant_id.clone(),
            id: new.envelope.notification_id,
            stream: new.stream.clone(),
            cursor: Cursor {
                generation: self.generation,
                shard: u16::try_from(ack.partition).unwrap_or_default(),
                offset: ack.offset,
            },
            delivery: way.travel.delivery,
            attempt: way.travel.attempt,
            at_ms,
            node: Arc::clone(&self.node),
        }
    }

    /// The schedule's rows of those that wait for their moment.
    pub(crate) fn scheduled(&self, ended: &[&Ended]) -> Vec<Scheduled> {
        let row = |ended: &&Ended| match (&ended.end, &ended.new) {
            (End::Scheduled { due_ms }, Some(new)) => Some(Scheduled {
                partition: self.home(&ended.way.record),
                due_at_ms: *due_ms,
                tenant: new.envelope.tenant_id.clone(),
                id: new.envelope.notification_id,
            }),
            _ => None,
        };
        ended.iter().filter_map(row).collect()
    }

    /// The schedule's rows that are no longer needed.
    pub(crate) fn done(&self, work: &Work) -> Vec<Scheduled> {
        let ended = work.ended.iter();
        let ended = ended.filter(|ended| !matches!(ended.end, End::Scheduled { .. }));
        let ways = work.ways.iter().chain(ended.map(|ended| &ended.way));
        let row = |way: &Way| match &way.source {
            Source::Schedule(row) => Some(row.clone()),
            _ => None,
        };
        ways.filter_map(row).collect()
    }

    /// What became of those that were not dispatched, first of those that wait for their next attempt. (That they
    /// are dead is told with their dead letters.)
    pub(crate) fn facts(&self, ended: &[&Ended], at_ms: u64) -> (Vec<Fact>, Vec<Fact>) {
        let fact = |ended: &&Ended| {
            let new = ended.new.as_ref()?;
            Some(Fact {
                tenant: new.envelope.tenant_id.clone(),
                id: new.envelope.notification_id,
                stamp: Stamp {
                    redrive: ended.way.travel.redrive,
                    attempt: ended.way.travel.attempt,
                    status: told(ended)?,
                },
                at_ms,
                node: Arc::clone(&self.node),
                sessions: None,
            })
        };
        let facts = ended.iter().filter_map(fact);
        facts.partition(|fact| fact.stamp.status == Status::Retrying)
    }

    /// The partition of the notifications topic that a record first stood on: its owner looks after the schedule.
    fn home(&self, record: &Record) -> i32 {
        if record.topic == self.notifications || record.topic == self.overflow {
            return record.partition;
        }
        let origin = record.headers.text(headers::ORIGIN).unwrap_or_default();
        let mut parts = origin.rsplit('/').skip(1);
        let partition = parts.next().and_then(|text| text.parse().ok());
        let of_ours = parts.next() == Some(&*self.notifications);
        partition.filter(|_| of_ours).unwrap_or_default()
    }
}

fn told(ended: &Ended) -> Option<Status> {
    match ended.end {
        End::Expired => Some(Status::Expired),
        // What a socket has taken cannot be taken back.
        End::Collapsed
            if ended
                .way
                .head
                .is_some_and(|head| head.first_delivered_at.is_some()) =>
        {
            None
        }
        End::Collapsed => Some(Status::Collapsed),
        End::Scheduled { .. } => Some(Status::Scheduled),
        End::Retry(_) => Some(Status::Retrying),
        End::Done | End::Dead(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{travel::Travel, work::sample};

    fn rows() -> Rows {
        Rows {
            generation: 1,
            node: "r1".into(),
            notifications: "carillon.notifications.v1".into(),
            overflow: "carillon.overflow.v1".into(),
        }
    }

    fn ended(end: End) -> Ended {
        let item = sample::item("acme", 4);
        let way = Way {
            record: item.record,
            travel: Travel {
                attempt: 2,
                redrive: 1,
                ..item.travel
            },
            source: item.source,
            head: None,
        };
        Ended {
            way,
            new: Some(item.new),
            end,
        }
    }

    #[test]
    fn a_fact_stands_in_the_redrive_and_the_attempt_of_its_record() {
        let (_, facts) = rows().facts(&[&ended(End::Expired), &ended(End::Done)], 9);
        let [fact] = &facts[..] else { panic!("{facts:?}") };
        let stamp = Stamp {
            redrive: 1,
            attempt: 2,
            status: Status::Expired,
        };
        assert_eq!((fact.stamp, fact.at_ms), (stamp, 9));
    }

    #[test]
    fn the_home_of_a_moved_record_is_where_it_first_stood() {
        let mut record = sample::record("acme", 4);
        record.partition = 2;
        assert_eq!(rows().home(&record), 2);
        record.topic = "carillon.retry.5s.v1".into();
        record
            .headers
            .set(headers::ORIGIN, "carillon.notifications.v1/7/4");
        assert_eq!(rows().home(&record), 7);
        record.headers.set(headers::ORIGIN, "other/5/4");
        assert_eq!(rows().home(&record), 0);
    }

    #[test]
    fn a_row_of_the_schedule_is_done_unless_its_notification_waits_again() {
        let row = Scheduled {
            partition: 0,
            due_at_ms: 5,
            tenant: "acme".parse().unwrap(),
            id: sample::item("acme", 4).new.envelope.notification_id,
        };
        let from_schedule = |end| {
            let mut ended = ended(end);
            ended.way.source = Source::Schedule(row.clone());
            Work::begin(Vec::new(), vec![ended], false)
        };
        assert_eq!(
            rows().done(&from_schedule(End::Expired)),
            std::slice::from_ref(&row)
        );
        assert!(
            rows()
                .done(&from_schedule(End::Scheduled { due_ms: 5 }))
                .is_empty()
        );
        let mut again = ended(End::Scheduled { due_ms: 5 });
        again.way.travel = Travel::begins(0);
        assert_eq!(rows().scheduled(&[&again]), [row]);
    }
}
