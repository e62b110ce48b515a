//! What is kept back: records whose tenants are about to leave the overflow.
//!
//! In: records of the notifications partitions. Out: all of a tenant, in the order in which they came. Always: how
//! many there may be is the ledger's word.

use std::collections::BTreeMap;

use carillon_schemas::TenantId;

use crate::work::Item;

/// Records by partition and tenant; nobody is here without any.
#[derive(Default)]
pub(crate) struct Kept(BTreeMap<(i32, TenantId), Vec<Item>>);

impl Kept {
    /// Behind those of its tenant.
    pub(crate) fn push(&mut self, item: Item) {
        let whose = (item.record.partition, item.tenant().clone());
        self.0.entry(whose).or_default().push(item);
    }

    /// All of a tenant in a partition.
    pub(crate) fn take(&mut self, partition: i32, tenant: &TenantId) -> Vec<Item> {
        self.0.remove(&(partition, tenant.clone())).unwrap_or_default()
    }

    /// Takes out what another router is about to get.
    pub(crate) fn drop_partitions(&mut self, partitions: &[i32]) -> Vec<Item> {
        let gone = self
            .0
            .extract_if(.., |(partition, _), _| partitions.contains(partition));
        gone.flat_map(|(_, items)| items).collect()
    }

    /// Of which partitions there is something.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        let mut partitions: Vec<_> = self.0.keys().map(|(partition, _)| *partition).collect();
        partitions.dedup();
        partitions
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
