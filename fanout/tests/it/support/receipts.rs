//! The receipts topic as the router reads it.
//!
//! In: a stand. Out: what its node told so far, the greatest count of each. Always: every record is checked
//! against the contract on its way.

use std::{collections::BTreeMap, time::Duration};

use carillon_bus::RangeReader;
use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use carillon_schemas::{
    NotificationId, headers,
    receipt::{self, Receipt, Receipts, Seen},
};
use parking_lot::Mutex;

use super::{PATIENCE, Stand};

/// Partitions of the topic.
const PARTITIONS: i32 = 6;

/// What was read.
#[derive(Default)]
pub(crate) struct Told(Mutex<State>);

#[derive(Default)]
struct State {
    next: BTreeMap<i32, i64>,
    receipts: Vec<(String, Receipt)>,
}

impl Stand {
    /// Every receipt so far, with its tenant, in the order of each tenant's records.
    pub(crate) async fn receipts(&self) -> Vec<(String, Receipt)> {
        let (topic, tasks) = (&self.bus.topics.receipts, Tasks::new());
        let reader = RangeReader::new(&self.bus, topic, 1, &Metrics::new(), &tasks).unwrap();
        let admin = carillon_bus::Admin::new(&self.bus, &Metrics::new()).unwrap();
        for (partition, _, end) in admin.ends(topic).await.unwrap() {
            assert!(partition < PARTITIONS);
            let mut from = self.told.0.lock().next.get(&partition).copied().unwrap_or(0);
            while from < end {
                let page = reader.read(partition, from, end, 1 << 20, Duration::from_secs(5));
                let page = page.await.unwrap();
                page.records
                    .iter()
                    .for_each(|record| self.told.0.lock().take(record));
                from = page.next;
            }
            self.told.0.lock().next.insert(partition, from);
        }
        drop(reader);
        tasks.close(PATIENCE).await;
        self.told.0.lock().receipts.clone()
    }

    /// Waits until the node has told this of a notification; gives the receipt.
    pub(crate) async fn told(&self, id: NotificationId, seen: Seen) -> Receipt {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let receipts = self.receipts().await;
            let of = receipts
                .iter()
                .map(|(_, r)| r)
                .filter(|r| r.notification_id == id);
            if let Some(receipt) = of.clone().find(|r| r.seen == seen) {
                return *receipt;
            }
            let late = tokio::time::Instant::now() >= deadline;
            assert!(!late, "{seen:?} was not told: {:?}", of.collect::<Vec<_>>());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl State {
    fn take(&mut self, record: &carillon_bus::Record) {
        let receipts: Receipts = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        let tenant = receipts.tenant_id.as_str();
        assert_eq!(record.key.as_deref(), Some(tenant.as_bytes()));
        assert_eq!(record.headers.text(headers::TENANT), Some(tenant));
        assert_eq!(record.headers.text(headers::SCHEMA), Some(receipt::SCHEMA));
        assert_eq!(receipts.node, "fanout-1");
        assert!(receipts.entries.len() <= receipt::ENTRIES);
        let tenant = tenant.to_owned();
        self.receipts
            .extend(receipts.entries.into_iter().map(|r| (tenant.clone(), r)));
    }
}
