//! What the node tells on Kafka, as the router reads it: receipts and audit entries.
//!
//! In: a stand. Out: what its node told so far. Always: every record is checked against the contract on its way.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use carillon_bus::{Admin, RangeReader, Record};
use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use carillon_schemas::{
    NotificationId,
    audit::AuditEntry,
    headers,
    receipt::{self, Receipt, Receipts, Seen},
};
use parking_lot::Mutex;

use super::{PATIENCE, Stand};

/// What was read: where each partition of the topic goes on, and the receipts.
#[derive(Default)]
pub(crate) struct Told {
    admin: OnceLock<Admin>,
    reader: OnceLock<(String, RangeReader)>,
    next: Mutex<BTreeMap<i32, i64>>,
    receipts: Mutex<Vec<(String, Receipt)>>,
}

impl Stand {
    /// Records of a topic that were not read before.
    async fn news(&self, topic: &str) -> Vec<Record> {
        let told = &self.told;
        let admin = told
            .admin
            .get_or_init(|| Admin::new(&self.bus, &Metrics::new()).unwrap());
        let reader = told.reader.get_or_init(|| {
            let reader = RangeReader::new(&self.bus, topic, 1, &Metrics::new(), &Tasks::new());
            (topic.to_owned(), reader.unwrap())
        });
        assert_eq!(reader.0, topic, "a test reads one topic");
        let mut news = Vec::new();
        for (partition, _, end) in admin.ends(topic).await.unwrap() {
            let mut from = self.told.next.lock().get(&partition).copied().unwrap_or(0);
            while from < end {
                let page = reader
                    .1
                    .read(partition, from, end, 1 << 20, Duration::from_secs(5));
                let page = page.await.unwrap();
                from = page.next;
                news.extend(page.records);
            }
            self.told.next.lock().insert(partition, from);
        }
        news
    }

    /// Every receipt so far, with its tenant, in the order of each tenant's records.
    pub(crate) async fn receipts(&self) -> Vec<(String, Receipt)> {
        for record in self.news(&self.bus.topics.receipts).await {
            let receipts: Receipts = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
            let tenant = receipts.tenant_id.as_str();
            assert_eq!(record.key.as_deref(), Some(tenant.as_bytes()));
            assert_eq!(record.headers.text(headers::TENANT), Some(tenant));
            assert_eq!(record.headers.text(headers::SCHEMA), Some(receipt::SCHEMA));
            assert_eq!(receipts.node, "fanout-1");
            assert!(receipts.entries.len() <= receipt::ENTRIES);
            let of = receipts.entries.into_iter().map(|r| (tenant.to_owned(), r));
            self.told.receipts.lock().extend(of);
        }
        self.told.receipts.lock().clone()
    }

    /// Shows each audit entry until it was enough.
    pub(crate) async fn audited(&self, mut is_enough: impl FnMut(&AuditEntry) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            for record in self.news(&self.bus.topics.audit).await {
                let entry = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
                if is_enough(&entry) {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the audit trail is incomplete");
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
