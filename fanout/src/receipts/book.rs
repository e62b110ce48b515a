//! The book of receipts: what is known of each delivery, and what of it the router has been told. Without I/O.
//!
//! In: what sessions took, acknowledgements, expiries; which records Kafka has. Out: batches to send.
//! Always: bounded; a figure is absolute and is told again only when it grew; what Kafka does not have is kept
//! before what it has; one tenant fills half of the room at most.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use carillon_schemas::{
    TenantId,
    receipt::{self, Receipt, Seen},
};
use tokio::time::Instant;

use super::Identity;
use crate::ReceiptLimits;

/// Entries that are looked at for one that can be forgotten early.
const LOOKED_AT: usize = 16;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// Sessions took it.
    Delivered,
    /// A client acknowledged it.
    Acknowledged,
    /// It came too late.
    Expired,
}

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) identity: Identity,
    pub(super) what: What,
}

#[derive(Debug)]
struct Entry {
    /// When it happened first, Unix milliseconds.
    at: u64,
    /// How often so far.
    count: u32,
    /// How often, as Kafka has it.
    told: u32,
    told_at: Option<Instant>,
    touched: Instant,
    /// Whether a record with it is on its way.
    on_its_way: bool,
    /// Whether it stands among the changed.
    listed: bool,
}

impl Entry {
    fn is_settled(&self) -> bool {
        self.count == self.told && !self.on_its_way
    }
}

/// One record's worth of receipts.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) tenant: TenantId,
    pub(super) receipts: Vec<Receipt>,
    /// The same, by key, with the count that is told.
    keys: Vec<(Key, u32)>,
}

/// The book.
#[derive(Debug)]
pub(super) struct Book {
    limits: ReceiptLimits,
    entries: HashMap<Key, Entry>,
    /// What grew since it was told, each once.
    changed: Vec<Key>,
    /// Every entry once, roughly in the order in which they were touched.
    order: VecDeque<(Instant, Key)>,
    /// Entries that Kafka has nothing of, by tenant.
    untold: HashMap<TenantId, usize>,
}

impl Book {
    pub(super) fn new(limits: ReceiptLimits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            changed: Vec::new(),
            order: VecDeque::new(),
            untold: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// It happened so often more; false when there is no room for it.
    pub(super) fn note(&mut self, key: Key, more: u32, at: u64, now: Instant) -> bool {
        if let Some(entry) = self.entries.get_mut(&key) {
            if key.what == What::Delivered {
                entry.count = entry.count.saturating_add(more);
                entry.at = entry.at.min(at);
                entry.touched = now;
                if !std::mem::replace(&mut entry.listed, true) {
                    self.changed.push(key);
                }
            }
            return true;
        }
        if !self.has_room(&key) {
            return false;
        }
        let entry = Entry {
            at,
            count: if key.what == What::Delivered { more } else { 1 },
            told: 0,
            told_at: None,
            touched: now,
            on_its_way: false,
            listed: true,
        };
        *self.untold.entry(key.identity.tenant.clone()).or_default() += 1;
        self.order.push_back((now, key.clone()));
        self.changed.push(key.clone());
        self.entries.insert(key, entry);
        true
    }

    /// A quarter of the room is for acknowledgements alone: a count that is too small is still true, and an
    /// acknowledgement that is lost has its notification sent again.
    fn has_room(&mut self, key: &Key) -> bool {
        let all = self.limits.entries;
        let most = match key.what {
            What::Acknowledged => all,
            What::Delivered | What::Expired => all - all / 4,
        };
        let untold = self.untold.get(&key.identity.tenant).copied().unwrap_or(0);
        if untold >= (most / 2).max(1) {
            return false;
        }
        self.entries.len() < most || self.forget_one()
    }

    /// Forgets something that Kafka has, although its time has not come.
    fn forget_one(&mut self) -> bool {
        for _ in 0..LOOKED_AT {
            let Some((touched, key)) = self.order.pop_front() else {
                return false;
            };
            if self.entries.get(&key).is_some_and(Entry::is_settled) {
                self.entries.remove(&key);
                return true;
            }
            self.order.push_back((touched, key));
        }
        false
    }

    /// Forgets what Kafka has and what has not changed for long enough.
    pub(super) fn forget(&mut self, now: Instant) {
        let over = |touched: Instant, kept: Duration| touched + kept <= now;
        for _ in 0..self.order.len() {
            let kept = self.limits.kept;
            let Some((_, key)) = self.order.pop_front_if(|(touched, _)| over(*touched, kept)) else {
                return;
            };
            match self.entries.get(&key) {
                Some(entry) if entry.is_settled() && over(entry.touched, kept) => {
                    self.entries.remove(&key);
                }
                Some(entry) if entry.is_settled() => self.order.push_back((entry.touched, key)),
                Some(_) => self.order.push_back((now, key)),
                None => {}
            }
        }
    }

    /// What is to be told now, in records: what was never told at once, what was told a moment ago later;
    /// everything, when these are the last.
    pub(super) fn due(&mut self, now: Instant, last: bool) -> Vec<Batch> {
        let mut by_tenant: BTreeMap<TenantId, Vec<Batch>> = BTreeMap::new();
        for key in std::mem::take(&mut self.changed) {
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            let early = entry.told_at.is_some_and(|told| told + self.limits.again > now);
            if entry.on_its_way || (early && !last) {
                self.changed.push(key);
                continue;
            }
            (entry.listed, entry.on_its_way) = (false, true);
            let tenant = &key.identity.tenant;
            let batches = by_tenant.entry(tenant.clone()).or_default();
            if batches.last().is_none_or(|b| b.keys.len() >= receipt::ENTRIES) {
                batches.push(Batch {
                    tenant: tenant.clone(),
                    receipts: Vec::new(),
                    keys: Vec::new(),
                });
            }
            if let Some(batch) = batches.last_mut() {
                batch.receipts.push(entry.receipt(&key));
                batch.keys.push((key, entry.count));
            }
        }
        by_tenant.into_values().flatten().collect()
    }

    /// A record came to its end: Kafka has it, or it must be sent again.
    pub(super) fn ended(&mut self, batch: Batch, written: bool, now: Instant) {
        for (key, count) in batch.keys {
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            entry.on_its_way = false;
            if written {
                if entry.told == 0 {
                    leave(&mut self.untold, &batch.tenant);
                }
                (entry.told, entry.told_at) = (count, Some(now));
            }
            if entry.count > entry.told && !std::mem::replace(&mut entry.listed, true) {
                self.changed.push(key);
            }
        }
    }

    /// How many sessions, acknowledgements and expiries Kafka does not have.
    pub(super) fn untold(&self) -> impl Iterator<Item = (What, u32)> {
        let entries = self.entries.iter();
        entries.map(|(key, entry)| (key.what, entry.count - entry.told))
    }
}

impl Entry {
    fn receipt(&self, key: &Key) -> Receipt {
        let which = key.identity.which;
        Receipt {
            notification_id: key.identity.id,
            delivery: which.delivery,
            attempt: which.attempt,
            redrive: which.redrive,
            at: self.at,
            seen: match key.what {
                What::Delivered => Seen::Delivered { sessions: self.count },
                What::Acknowledged => Seen::Acknowledged,
                What::Expired => Seen::Expired,
            },
        }
    }
}

fn leave(untold: &mut HashMap<TenantId, usize>, tenant: &TenantId) {
    if let Some(count) = untold.get_mut(tenant) {
        *count -= 1;
        if *count == 0 {
            untold.remove(tenant);
        }
    }
}

#[cfg(test)]
mod tests;
