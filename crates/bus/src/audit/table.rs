//! The table of an audit log: what was noted and is not sent yet.
//!
//! In: events. Out: entries, each with an id of its own. Always: at most [`SUMS`] sums and [`DEEDS`] deeds are
//! held; when the sums run short, codes are given up for `other` before events are.

use std::{collections::HashMap, mem};

use carillon_schemas::{
    TenantId,
    audit::{AuditEntry, AuditKind},
};
use uuid::Uuid;

use super::AuditEvent;

/// Most sums in the table.
const SUMS: usize = 4_096;
/// So many of them may be under codes of their own; the rest is for `other`.
const SUMS_BY_CODE: usize = 3_072;
/// Most events with an entry of their own in the table; more are counted.
const DEEDS: usize = 1_024;
/// The code of what no room was left for.
const OTHER: &str = "other";
/// Longest detail in bytes.
const DETAIL_BYTES: usize = 256;

#[derive(Default)]
pub(super) struct Table {
    sums: HashMap<(TenantId, AuditKind, &'static str), Sum>,
    deeds: Vec<(AuditEvent, u64)>,
    /// Whether the last regular flush is over.
    pub(super) closed: bool,
}

struct Sum {
    count: u64,
    since_ms: u64,
}

impl Table {
    /// Counts an event; whether there was room.
    pub(super) fn count(
        &mut self,
        tenant: &TenantId,
        kind: AuditKind,
        code: &'static str,
        now_ms: u64,
    ) -> bool {
        for (code, room) in [(code, SUMS_BY_CODE), (OTHER, SUMS)] {
            let full = self.sums.len() >= room;
            let key = (tenant.clone(), kind, code);
            if let Some(sum) = self.sums.get_mut(&key) {
                sum.count += 1;
                return true;
            }
            if !full {
                let sum = Sum {
                    count: 1,
                    since_ms: now_ms,
                };
                self.sums.insert(key, sum);
                return true;
            }
        }
        false
    }

    /// Takes an event as it is, or counts it; whether there was room for that.
    pub(super) fn note(&mut self, event: AuditEvent, now_ms: u64) -> bool {
        if self.deeds.len() >= DEEDS {
            return self.count(&event.tenant, event.kind, event.code, now_ms);
        }
        self.deeds.push((event, now_ms));
        true
    }

    /// Everything, as entries.
    pub(super) fn take(&mut self, node: &str) -> Vec<AuditEntry> {
        let deeds = mem::take(&mut self.deeds);
        let sums = mem::take(&mut self.sums);
        let deeds = deeds.into_iter().map(|(event, at)| AuditEntry {
            id: id(at),
            tenant_id: event.tenant,
            at,
            kind: event.kind,
            code: event.code.to_owned(),
            actor: event.actor,
            node: node.to_owned(),
            subject: event.subject,
            count: 1,
            detail: event.detail.map(cut),
        });
        let sums = sums.into_iter().map(|((tenant_id, kind, code), sum)| AuditEntry {
            id: id(sum.since_ms),
            tenant_id,
            at: sum.since_ms,
            kind,
            code: code.to_owned(),
            actor: None,
            node: node.to_owned(),
            subject: None,
            count: sum.count,
            detail: None,
        });
        deeds.chain(sums).collect()
    }
}

/// A version 7 UUID of a moment.
fn id(at_ms: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(at_ms, &rand::random()).into_uuid()
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(DETAIL_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const REJECTION: AuditKind = AuditKind::Rejection;

    fn tenant(n: usize) -> TenantId {
        format!("t{n}").parse().unwrap()
    }

    fn deed() -> AuditEvent {
        AuditEvent {
            tenant: tenant(0),
            kind: AuditKind::Administration,
            code: "cancel",
            actor: Some("u1".to_owned()),
            subject: Some("n1".to_owned()),
            detail: Some("ä".repeat(200)),
        }
    }

    #[test]
    fn events_of_one_tenant_and_code_are_one_entry_with_their_count() {
        let mut table = Table::default();
        for (code, at) in [("rate_limited", 5), ("not_found", 6), ("rate_limited", 7)] {
            assert!(table.count(&tenant(1), REJECTION, code, at));
        }
        assert!(table.count(&tenant(2), REJECTION, "rate_limited", 8));
        let mut entries = table.take("node-1");
        entries.sort_by_key(|entry| entry.at);
        let seen: Vec<_> = entries
            .iter()
            .map(|e| (e.tenant_id.as_str(), &*e.code, e.at, e.count))
            .collect();
        let expected = [
            ("t1", "rate_limited", 5, 2),
            ("t1", "not_found", 6, 1),
            ("t2", "rate_limited", 8, 1),
        ];
        assert_eq!(seen, expected);
        assert!(entries.iter().all(|e| e.node == "node-1" && e.actor.is_none()));
        assert!(table.take("node-1").is_empty());
    }

    #[test]
    fn a_full_table_gives_up_codes_first_and_then_events() {
        let mut table = Table::default();
        for n in 0..SUMS_BY_CODE {
            assert!(table.count(&tenant(n), REJECTION, "not_found", 1));
        }
        assert!(table.count(&tenant(0), REJECTION, "not_found", 1), "known before");
        assert!(table.count(&tenant(0), REJECTION, "rate_limited", 1));
        assert!(table.count(&tenant(0), REJECTION, "overloaded", 1));
        let mut taken = 1;
        while table.count(&tenant(taken), REJECTION, "rate_limited", 1) {
            taken += 1;
        }
        assert_eq!((taken, table.sums.len()), (SUMS - SUMS_BY_CODE, SUMS));
        let entries = table.take("node-1");
        let other: Vec<_> = entries.iter().filter(|e| e.code == OTHER).collect();
        assert_eq!(other.len(), SUMS - SUMS_BY_CODE);
        let first = other.iter().find(|e| e.tenant_id == tenant(0)).unwrap();
        assert_eq!(first.count, 2);
    }

    #[test]
    fn deeds_keep_their_particulars_until_there_are_too_many() {
        let mut table = Table::default();
        for _ in 0..DEEDS + 3 {
            assert!(table.note(deed(), 9));
        }
        let entries = table.take("node-1");
        assert_eq!(entries.len(), DEEDS + 1);
        assert_eq!(entries[0].actor.as_deref(), Some("u1"));
        assert_eq!(entries[0].detail.as_ref().map(String::len), Some(256));
        assert_eq!((entries[DEEDS].count, &entries[DEEDS].actor), (3, &None));
        assert_ne!(entries[0].id, entries[1].id);
    }
}
