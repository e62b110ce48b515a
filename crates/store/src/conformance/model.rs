//! The model: what a store must answer, computed from the set of all facts.
//!
//! In: facts, in any order. Out: the answers. Always: as plain as possible, and without any order of writes.

use std::collections::{BTreeMap, BTreeSet};

use carillon_schemas::{
    NotificationId, Stream, TenantId,
    cursor::Cursor,
    dead_letter::{DeadLetterId, DeadLetterRow},
    http::{DeliveryRow, TimelineEntry},
    status::{Stamp, Status},
};

use super::facts::Fact;
use crate::{DeadLettersQuery, DeliveriesQuery, Head, NewNotification, NotificationStore};

/// What is known of one notification.
#[derive(Debug, Default)]
struct Entry {
    payload: Option<NewNotification>,
    /// By stamp and node, the earliest time and the most sessions.
    facts: BTreeMap<(i64, String), (u64, Option<u32>)>,
}

/// Everything that a store was told.
#[derive(Debug, Default)]
pub struct Model {
    entries: BTreeMap<(TenantId, NotificationId), Entry>,
    recent: BTreeMap<(TenantId, Stream, Cursor), (NotificationId, u32)>,
    letters: BTreeMap<(TenantId, u64, DeadLetterId), DeadLetterRow>,
}

impl Model {
    /// The model after these facts.
    pub fn of(facts: &[Fact]) -> Self {
        let mut model = Self::default();
        for fact in facts {
            model.add(fact);
        }
        model
    }

    fn add(&mut self, fact: &Fact) {
        let stamp = |redrive, attempt, status| Stamp {
            redrive,
            attempt,
            status,
        };
        let (tenant, id, stamp, at_ms, node, sessions) = match fact {
            Fact::Persist(f) => {
                let (tenant, id) = (&f.envelope.tenant_id, f.envelope.notification_id);
                let stamp = stamp(f.redrive, f.attempt, Status::Stored);
                (tenant, id, stamp, f.at_ms, &f.node, None)
            }
            Fact::Dispatched(f) => {
                let place = (f.tenant.clone(), f.stream.clone(), f.cursor);
                self.recent.insert(place, (f.id, f.delivery));
                let stamp = stamp(f.redrive, f.attempt, Status::Dispatched);
                (&f.tenant, f.id, stamp, f.at_ms, &f.node, None)
            }
            Fact::Dead(f) => {
                let row = &f.row;
                let place = (f.tenant.clone(), row.at, row.id);
                self.letters.insert(place, row.clone());
                let id = row.notification_id.expect("a dead letter with a notification");
                let stamp = stamp(row.redrive_count, row.attempt, Status::Dead);
                (&f.tenant, id, stamp, row.at, &f.node, None)
            }
            Fact::Note(f) => (&f.tenant, f.id, f.stamp, f.at_ms, &f.node, f.sessions),
        };
        let entry = self.entries.entry((tenant.clone(), id)).or_default();
        let told = entry
            .facts
            .entry((stamp.packed(), node.to_string()))
            .or_insert((at_ms, sessions));
        *told = (at_ms.min(told.0), sessions.max(told.1));
        if let Fact::Persist(new) = fact {
            entry.payload.get_or_insert_with(|| new.clone());
        }
    }

    /// Compares every answer that a store can give about these tenants and ids.
    pub async fn compare(&self, store: &dyn NotificationStore, tenants: &[TenantId], ids: &[NotificationId]) {
        for tenant in tenants {
            self.compare_each(store, tenant, ids).await;
            self.compare_deliveries(store, tenant).await;
            self.compare_recent(store, tenant).await;
            self.compare_letters(store, tenant).await;
        }
    }

    async fn compare_each(&self, store: &dyn NotificationStore, tenant: &TenantId, ids: &[NotificationId]) {
        let entries = ids.iter().map(|id| self.entries.get(&(tenant.clone(), *id)));
        let heads: Vec<_> = entries.clone().map(|entry| entry.map(Entry::head)).collect();
        assert_eq!(
            store.heads(tenant, ids).await.unwrap(),
            heads,
            "heads of {tenant}"
        );
        for (id, entry) in ids.iter().zip(entries) {
            let known = store.notification(tenant, *id).await.unwrap();
            let payload = entry.and_then(|entry| entry.payload.as_ref().map(|payload| (entry, payload)));
            let Some((entry, payload)) = payload else {
                assert!(known.is_none(), "{tenant} {id}: a notification without payload");
                continue;
            };
            let known = known.unwrap_or_else(|| panic!("{tenant} {id} is missing"));
            assert_eq!(known.bytes, payload.bytes);
            let head = entry.head();
            assert_eq!(known.status, head.stamp.status, "state of {tenant} {id}");
            let firsts = (known.first_delivered_at, known.acked_at);
            assert_eq!(firsts, (head.first_delivered_at, head.acked_at), "{tenant} {id}");
            assert_eq!(known.timeline, entry.timeline(), "time line of {tenant} {id}");
        }
    }

    async fn compare_deliveries(&self, store: &dyn NotificationStore, tenant: &TenantId) {
        let mut expected: Vec<_> = self.of_tenant(tenant).filter_map(Entry::row).collect();
        expected.sort_by_key(|row| std::cmp::Reverse((row.accepted_at, row.notification_id)));
        let query = DeliveriesQuery {
            limit: 500,
            ..DeliveriesQuery::default()
        };
        let page = store.deliveries(tenant, &query).await.unwrap();
        assert_eq!(page.rows, expected, "deliveries of {tenant}");
    }

    async fn compare_recent(&self, store: &dyn NotificationStore, tenant: &TenantId) {
        let of_tenant = self.recent.iter().filter(|((t, ..), _)| t == tenant);
        let streams: BTreeSet<_> = of_tenant.clone().map(|((_, stream, _), _)| stream).collect();
        for stream in streams {
            let rows = store.recent(tenant, stream, 100, None).await.unwrap();
            let rows: Vec<_> = rows
                .iter()
                .map(|r| (r.cursor, r.envelope.notification_id, r.delivery, r.bytes.clone()))
                .collect();
            let expected: Vec<_> = of_tenant
                .clone()
                .filter(|((_, s, _), _)| s == stream)
                .filter_map(|((tenant, _, cursor), (id, delivery))| {
                    let entry = self.entries.get(&(tenant.clone(), *id))?;
                    Some((*cursor, *id, *delivery, entry.payload.as_ref()?.bytes.clone()))
                })
                .collect();
            assert_eq!(rows, expected, "{stream} of {tenant}");
        }
    }

    async fn compare_letters(&self, store: &dyn NotificationStore, tenant: &TenantId) {
        let of_tenant = self.letters.iter().filter(|((t, ..), _)| t == tenant);
        let expected: Vec<_> = of_tenant.map(|(_, row)| row.clone()).rev().collect();
        let query = DeadLettersQuery {
            limit: 500,
            ..DeadLettersQuery::default()
        };
        let page = store.dead_letters(tenant, &query).await.unwrap();
        assert_eq!(page.rows, expected, "dead letters of {tenant}");
    }

    fn of_tenant(&self, tenant: &TenantId) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |((t, _), _)| t == tenant)
            .map(|(_, entry)| entry)
    }
}

impl Entry {
    fn head(&self) -> Head {
        let unpacked = |stamp: &i64| Stamp::unpack(*stamp).expect("it was packed");
        let first = |status| {
            let of_kind = self
                .facts
                .iter()
                .filter(|((stamp, _), _)| unpacked(stamp).status == status);
            of_kind.map(|(_, (at, _))| *at).min()
        };
        let stamps = || self.facts.keys().map(|(stamp, _)| unpacked(stamp));
        Head {
            stamp: stamps().max().expect("an entry has a fact"),
            settled: stamps().filter(|stamp| !stamp.status.is_receipt()).max(),
            first_delivered_at: first(Status::Delivered),
            acked_at: first(Status::Acknowledged),
        }
    }

    fn timeline(&self) -> Vec<TimelineEntry> {
        let accepted = self.payload.iter().map(|new| TimelineEntry {
            status: Status::Accepted,
            at: new.envelope.accepted_at,
            attempt: 1,
            redrive: 0,
            node: None,
            sessions: None,
        });
        let mut facts: Vec<_> = self
            .facts
            .iter()
            .map(|((stamp, node), (at, sessions))| (stamp, at, node, sessions))
            .collect();
        facts.sort();
        let told = facts.into_iter().map(|(stamp, at, node, sessions)| {
            let stamp = Stamp::unpack(*stamp).expect("it was packed");
            TimelineEntry {
                status: stamp.status,
                at: *at,
                attempt: stamp.attempt,
                redrive: stamp.redrive,
                node: Some(node.clone()),
                sessions: *sessions,
            }
        });
        accepted.chain(told).collect()
    }

    fn row(&self) -> Option<DeliveryRow> {
        let envelope = &self.payload.as_ref()?.envelope;
        Some(DeliveryRow {
            notification_id: envelope.notification_id,
            channel: envelope.channel.clone(),
            user_id: envelope.user_id.clone(),
            status: self.head().stamp.status,
            accepted_at: envelope.accepted_at,
            correlation_id: envelope.correlation_id.clone(),
        })
    }
}
