//! The store in memory, with the promises of the real ones.
//!
//! In: facts in any order. Out: the state, which is the highest. Always: telling a fact twice changes nothing; the
//! first payload and the first times stay.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use carillon_schemas::{
    CollapseKey, NotificationId, Stream, TenantId,
    status::{Stamp, Status},
};
use carillon_store::{Head, NewNotification, Scheduled};

type Key = (TenantId, NotificationId);

/// What is stored.
#[derive(Default)]
pub(super) struct Store {
    rows: BTreeMap<Key, Row>,
    latest: BTreeMap<(TenantId, Stream, CollapseKey), (u64, NotificationId)>,
    schedule: BTreeSet<(i32, u64, TenantId, NotificationId)>,
}

/// One notification.
#[derive(Default, Clone)]
pub(super) struct Row {
    pub(super) bytes: Option<Bytes>,
    pub(super) stamps: BTreeSet<Stamp>,
    acked_at: Option<u64>,
}

impl Row {
    pub(super) fn has(&self, status: Status) -> bool {
        self.stamps.iter().any(|stamp| stamp.status == status)
    }
}

impl Store {
    pub(super) fn persist(&mut self, new: &NewNotification) {
        let envelope = &new.envelope;
        let key = (envelope.tenant_id.clone(), envelope.notification_id);
        let row = self.rows.entry(key).or_default();
        row.bytes.get_or_insert_with(|| new.bytes.clone());
        row.stamps.insert(Stamp {
            redrive: new.redrive,
            attempt: new.attempt,
            status: Status::Stored,
        });
        if let Some(key) = &envelope.collapse_key {
            let key = (envelope.tenant_id.clone(), new.stream.clone(), key.clone());
            let mine = (envelope.accepted_at, envelope.notification_id);
            let latest = self.latest.entry(key).or_insert(mine);
            *latest = (*latest).max(mine);
        }
    }

    pub(super) fn note(&mut self, tenant: &TenantId, id: NotificationId, stamp: Stamp, at_ms: u64) {
        let row = self.rows.entry((tenant.clone(), id)).or_default();
        row.stamps.insert(stamp);
        if stamp.status == Status::Acknowledged {
            let at = row.acked_at.map_or(at_ms, |before| before.min(at_ms));
            row.acked_at = Some(at);
        }
    }

    pub(super) fn head(&self, tenant: &TenantId, id: NotificationId) -> Option<Head> {
        let row = self.rows.get(&(tenant.clone(), id))?;
        Some(Head {
            stamp: *row.stamps.last()?,
            settled: row
                .stamps
                .iter()
                .rev()
                .find(|stamp| !stamp.status.is_receipt())
                .copied(),
            first_delivered_at: None,
            acked_at: row.acked_at,
        })
    }

    pub(super) fn row(&self, tenant: &TenantId, id: NotificationId) -> Option<&Row> {
        self.rows.get(&(tenant.clone(), id))
    }

    pub(super) fn latest(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        key: &CollapseKey,
    ) -> Option<NotificationId> {
        let key = (tenant.clone(), stream.clone(), key.clone());
        self.latest.get(&key).map(|(_, id)| *id)
    }

    pub(super) fn schedule(&mut self, row: &Scheduled) {
        let place = (row.partition, row.due_at_ms, row.tenant.clone(), row.id);
        self.schedule.insert(place);
    }

    pub(super) fn unschedule(&mut self, row: &Scheduled) {
        let place = (row.partition, row.due_at_ms, row.tenant.clone(), row.id);
        self.schedule.remove(&place);
    }

    /// What is due of a partition, earliest first.
    pub(super) fn due(&self, partition: i32, now_ms: u64) -> Vec<Scheduled> {
        let due = self
            .schedule
            .iter()
            .filter(|(p, at, ..)| *p == partition && *at <= now_ms);
        let due = due.map(|(partition, due_at_ms, tenant, id)| Scheduled {
            partition: *partition,
            due_at_ms: *due_at_ms,
            tenant: tenant.clone(),
            id: *id,
        });
        due.collect()
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.schedule.iter().map(|(_, at, ..)| *at).min()
    }
}
