//! Receipts: what sockets took and clients acknowledged becomes state.
//!
//! In: records of the receipts topic. Out: facts in the store, then finished offsets. Always: a receipt carries
//! what was counted so far, so that reading it twice changes nothing.

use std::sync::Arc;

use carillon_bus::Record;
use carillon_chassis::metrics::{Counter, CounterVec, Metrics};
use carillon_schemas::{
    receipt::{Receipt, Receipts as Value, Seen},
    status::{Stamp, Status},
};
use carillon_store::{Fact, NotificationStore};
use tracing::error;

use crate::{
    RouterError,
    beside::{keep::keep, reader::Reader, value::Unreadable},
    hold::{Holds, Site},
};

/// Most facts of one write.
const FACTS: usize = 2_000;

/// The room.
pub(crate) struct Receipts {
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) unreadable: Arc<Unreadable>,
    pub(crate) meters: Meters,
}

/// What is counted here.
pub(crate) struct Meters {
    facts: CounterVec,
    refused: Counter,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            facts: metrics.counter_vec(
                "carillon_router_receipts_total",
                "Receipts noted in the store",
                &["seen"],
            ),
            refused: metrics.counter(
                "carillon_router_receipts_refused_total",
                "Receipts that the store refused and that were left behind",
            ),
        }
    }
}

impl Receipts {
    /// Until the consumer ends. May be dropped at any time: what was not finished is read again.
    pub(crate) async fn run(&self, reader: &mut Reader) -> Result<(), RouterError> {
        loop {
            let records = reader.next().await?;
            self.note(&records).await;
            reader.finish(&records);
        }
    }

    async fn note(&self, records: &[Record]) {
        let values: Vec<Value> = self.unreadable.read("receipts", records);
        let facts: Vec<Fact> = values.iter().flat_map(facts).collect();
        let write = |rows| self.store.note(rows);
        for (fact, reason) in keep(&self.holds, Site::Receipts, &facts, FACTS, write).await {
            self.meters.refused.inc();
            error!(tenant = %fact.tenant, id = %fact.id, error = reason, "the store refuses a receipt, left behind");
        }
        for fact in &facts {
            let seen = fact.stamp.status.as_str();
            self.meters.facts.with_label_values(&[seen]).inc();
        }
    }
}

/// What a record says, as facts. An entry that no fanout writes says nothing.
fn facts(value: &Value) -> impl Iterator<Item = Fact> {
    let node: Arc<str> = Arc::from(value.node.as_str());
    let tenant = &value.tenant_id;
    value.entries.iter().filter_map(move |receipt| {
        let (status, sessions) = seen(receipt)?;
        Some(Fact {
            tenant: tenant.clone(),
            id: receipt.notification_id,
            stamp: Stamp {
                redrive: receipt.redrive,
                attempt: receipt.attempt,
                status,
            },
            at_ms: receipt.at,
            node: Arc::clone(&node),
            sessions,
        })
    })
}

fn seen(receipt: &Receipt) -> Option<(Status, Option<u32>)> {
    if receipt.attempt == 0 {
        return None;
    }
    match receipt.seen {
        Seen::Delivered { sessions: 0 } => None,
        Seen::Delivered { sessions } => Some((Status::Delivered, Some(sessions))),
        Seen::Acknowledged => Some((Status::Acknowledged, None)),
        Seen::Expired => Some((Status::Expired, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carillon_schemas::NotificationId;

    fn value(seen: Seen, attempt: u8) -> Value {
        Value {
            tenant_id: "acme".parse().unwrap(),
            node: "f1".to_owned(),
            entries: vec![Receipt {
                notification_id: NotificationId::from_bytes([7; 16]),
                delivery: 3,
                attempt,
                redrive: 1,
                at: 1_760_000_000_123,
                seen,
            }],
        }
    }

    #[test]
    fn a_receipt_is_a_fact_of_its_redrive_and_attempt() {
        for (seen, status, sessions) in [
            (Seen::Delivered { sessions: 4 }, Status::Delivered, Some(4)),
            (Seen::Acknowledged, Status::Acknowledged, None),
            (Seen::Expired, Status::Expired, None),
        ] {
            let facts: Vec<_> = facts(&value(seen, 2)).collect();
            let stamp = Stamp {
                redrive: 1,
                attempt: 2,
                status,
            };
            let [fact] = &facts[..] else { panic!("{facts:?}") };
            assert_eq!((fact.stamp, fact.sessions), (stamp, sessions));
            assert_eq!((fact.at_ms, &*fact.node), (1_760_000_000_123, "f1"));
            assert_eq!(fact.tenant.as_str(), "acme");
        }
    }

    #[test]
    fn what_no_socket_took_is_not_delivered() {
        assert_eq!(facts(&value(Seen::Delivered { sessions: 0 }, 1)).count(), 0);
        assert_eq!(facts(&value(Seen::Acknowledged, 0)).count(), 0);
    }
}
