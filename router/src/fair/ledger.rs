//! The overflow ledger: which way a record of the notifications topic goes, so that a tenant whose lane was full
//! keeps its order.
//!
//! In: what an owner finds in the overflow of a partition when it takes it over, what it writes there, what of it
//! is handed on and what is finished; how far it has read the partition itself. Out: a record's way, whether the
//! follower may hand its next one on, and whose records need not be kept back any longer.
//! Always: pure; nothing of a tenant goes past what waits for it in the overflow; what is kept back of a tenant is
//! no more than a lane; whoever takes a partition over, at whatever step the owner before it died, hands out each
//! tenant's records in their order.
//!
//! Why that holds. A tenant leaves the overflow only when all that it has there is *finished*. So of two records
//! `a < b` of one tenant, `a` handed out directly and `b` found in the overflow, one of two is true: `b` was written
//! there while `a` was on its way, and then everything that the tenant had there before was finished. The next owner
//! therefore hands out directly what stands below the tenant's last found record and is not found itself, and the
//! follower waits with each found record until the partition was read past the place that it came from.
//!
//! What is kept back changes nothing in that. It is neither handed out nor written, so that a crash leaves it as if it
//! had not been read; while something is, all that its tenant sends is kept behind it, so that nothing newer of the
//! tenant enters the overflow. It goes out directly when the tenant has left, that is, when all there is finished, or
//! it is written there in order, before anything newer of the tenant.
//!
//! Nobody waits for ever. What is kept back waits for all that stands in the overflow before its tenant's last, and
//! the follower may wait with some of that until the partition was read further, which is not when too much of it is
//! unfinished. So nothing is kept back while the follower waits for the partition.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use carillon_schemas::TenantId;

use super::Bounds;

/// Which way a record of a notifications partition goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is not known yet who is in the overflow: it waits where it is.
    Wait,
    /// The overflow has it: it is finished here.
    There,
    /// Into its lane, full or not: the owner before had it on its way, and what is in the overflow comes after it.
    /// At most as many as may be in flight.
    Push,
    /// Into its lane, and if that is full, into the overflow.
    Offer,
    /// Into the overflow, behind what its tenant has there.
    Overflow,
    /// Few of what its tenant has in the overflow are left to be handed on: it is kept back until all of them are
    /// finished, if [`Ledger::keep`] lets it.
    KeepBack,
}

/// The partitions that are owned here. Bounded by the tenants in the overflow, and by what was in flight when a
/// partition was taken over.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What may be kept back of a tenant in a partition: as much as in a lane.
    bounds: Bounds,
    partitions: HashMap<i32, Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    /// Whether it is known who is in the overflow.
    ready: bool,
    tenants: HashMap<TenantId, Overflowing>,
    /// Tenants by their last offset in the overflow.
    by_last: BTreeMap<i64, TenantId>,
    /// Everything in the overflow below this is finished.
    finished: i64,
    /// How far the partition itself was read.
    read: i64,
    /// Where it ended after the overflow was read: what was found came from below.
    horizon: i64,
    /// Below this, what is in the overflow was found.
    scanned: i64,
    /// The follower waits until the partition was read up to here.
    awaited: i64,
    /// What is kept back.
    kept: BTreeMap<TenantId, Kept>,
    /// Of whom nothing is to be kept back any longer.
    released: Vec<TenantId>,
}

#[derive(Debug, Default)]
struct Overflowing {
    /// Records that are being written.
    entering: u32,
    /// Its last offset there.
    last: Option<i64>,
    /// Everything of it below this is handed on.
    handed_on: i64,
    /// Its last offsets there from that up: one more than few are, at most.
    ahead: BTreeSet<i64>,
    /// Places in the notifications partition of what was found.
    found: BTreeSet<i64>,
    /// Records written or found since it is in here.
    records: u64,
}

/// How much is kept back of a tenant.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    records: usize,
    bytes: usize,
}

/// What a tenant has in the overflow, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OverflowReport {
    pub(crate) tenant: TenantId,
    pub(crate) partition: i32,
    /// Records that went there since it had nothing there.
    pub(crate) records: u64,
}

impl Ledger {
    /// Of no partition. Of a tenant, no more is kept back than its lane takes.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            ..Self::default()
        }
    }

    /// A partition was assigned: what the owner before left in its overflow is still to be found. The partition
    /// itself will be read from `from`, its lowest unfinished record.
    pub(crate) fn assigned(&mut self, partition: i32, from: i64) {
        let fresh = Partition {
            read: from,
            ..Partition::default()
        };
        self.partitions.insert(partition, fresh);
    }

    /// A partition was revoked. What is written or finished of it later has no effect.
    pub(crate) fn revoked(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// A record was found in the overflow, at or above what is committed there. `place` is where it stood in the
    /// notifications partition, when it came from there in its first attempt; what comes back from the ladder keeps
    /// no order.
    pub(crate) fn found(&mut self, partition: i32, tenant: &TenantId, offset: i64, place: Option<i64>) {
        let Some(known) = self.partitions.get_mut(&partition) else {
            return;
        };
        known.scanned = known.scanned.max(offset + 1);
        let from = known.read;
        let entry = known.stands(tenant, offset, self.bounds);
        entry.records += 1;
        entry.found.extend(place.filter(|place| *place >= from));
    }

    /// All of the overflow was read, from what is committed there to an end that was asked after the partition was
    /// assigned; the follower has read nothing yet. The partition itself ends at `end` now: what was found and says
    /// that it stood beyond is of a log that is gone.
    pub(crate) fn scanned(&mut self, partition: i32, end: i64) {
        let Some(known) = self.partitions.get_mut(&partition) else {
            return;
        };
        known.ready = true;
        known.horizon = end;
        for tenant in known.tenants.values_mut() {
            tenant.found.retain(|place| *place < end);
        }
    }

    /// Whether it is known who is in the overflow of a partition.
    pub(crate) fn is_ready(&self, partition: i32) -> bool {
        self.partitions.get(&partition).is_some_and(|p| p.ready)
    }

    /// The way of a record that was read from the notifications partition at `offset`. An unknown partition is one
    /// that was just revoked: its records are let go.
    pub(crate) fn way(&self, partition: i32, tenant: &TenantId, offset: i64) -> Way {
        let Some(known) = self.partitions.get(&partition).filter(|p| p.ready) else {
            return Way::Wait;
        };
        match known.tenants.get(tenant) {
            Some(entry) if entry.found.contains(&offset) => Way::There,
            Some(entry) if entry.found.last().is_some_and(|last| offset < *last) => Way::Push,
            _ if known.kept.contains_key(tenant) => Way::KeepBack,
            Some(entry) if entry.is_nearly_drained(self.bounds) && !known.is_awaited() => Way::KeepBack,
            Some(_) => Way::Overflow,
            None => Way::Offer,
        }
    }

    /// A record of the tenant is to be kept back. Says whether it may be; if not, nothing is any more of this tenant:
    /// what is goes to the overflow in its order, and this record behind it.
    pub(crate) fn keep(&mut self, partition: i32, tenant: &TenantId, bytes: usize) -> bool {
        let Some(known) = self.partitions.get_mut(&partition) else {
            return false;
        };
        let kept = known.kept.get(tenant).copied().unwrap_or_default();
        let fits = kept.records < self.bounds.records_per_lane
            && (kept.records == 0 || kept.bytes + bytes <= self.bounds.bytes_per_lane);
        if !fits || known.is_awaited() {
            known.kept.remove(tenant);
            return false;
        }
        let more = Kept {
            records: kept.records + 1,
            bytes: kept.bytes + bytes,
        };
        known.kept.insert(tenant.clone(), more);
        true
    }

    /// A tenant of which nothing is to be kept back any longer. Its records are asked about anew with
    /// [`Ledger::way`], in their order and before anything newer of it.
    pub(crate) fn released(&mut self, partition: i32) -> Option<TenantId> {
        let known = self.partitions.get_mut(&partition)?;
        while let Some(tenant) = known.released.pop() {
            if known.kept.remove(&tenant).is_some() {
                return Some(tenant);
            }
        }
        None
    }

    /// Whether a tenant has something in the overflow of a partition.
    #[cfg(test)]
    pub(crate) fn overflows(&self, partition: i32, tenant: &TenantId) -> bool {
        let known = self.partitions.get(&partition);
        known.is_some_and(|known| known.tenants.contains_key(tenant))
    }

    /// The notifications partition was read up to here, this offset not included. What was skipped because it was
    /// finished before counts, too.
    pub(crate) fn read(&mut self, partition: i32, next: i64) {
        if let Some(known) = self.partitions.get_mut(&partition) {
            known.read = known.read.max(next);
        }
    }

    /// Whether the follower may hand on the record at `offset` of the overflow, which stood at `place` in the
    /// notifications partition: not before that was read up to there, because what stood before it and is not
    /// finished goes first.
    pub(crate) fn may_follow(&mut self, partition: i32, offset: i64, place: Option<i64>) -> bool {
        let Some(known) = self.partitions.get_mut(&partition).filter(|p| p.ready) else {
            return false;
        };
        let is_gone = |place| offset < known.scanned && place >= known.horizon;
        match place {
            Some(place) if place >= known.read && !is_gone(place) => {
                known.wait_for(place + 1);
                false
            }
            _ => true,
        }
    }

    /// The record of the tenant at `offset` of the overflow is in its lane, as were those of it before.
    pub(crate) fn handed_on(&mut self, partition: i32, tenant: &TenantId, offset: i64) {
        let known = self.partitions.get_mut(&partition);
        if let Some(entry) = known.and_then(|known| known.tenants.get_mut(tenant)) {
            entry.handed_on = entry.handed_on.max(offset + 1);
            entry.ahead = entry.ahead.split_off(&entry.handed_on);
        }
    }

    /// A record of the tenant is being written to the overflow.
    pub(crate) fn enter(&mut self, partition: i32, tenant: &TenantId) {
        if let Some(known) = self.partitions.get_mut(&partition) {
            let tenant = known.tenants.entry(tenant.clone()).or_default();
            tenant.entering += 1;
            tenant.records += 1;
        }
    }

    /// It stands there. Ends one [`Ledger::enter`].
    pub(crate) fn placed(&mut self, partition: i32, tenant: &TenantId, offset: i64) {
        let Some(known) = self.partitions.get_mut(&partition) else {
            return;
        };
        let entry = known.stands(tenant, offset, self.bounds);
        entry.entering = entry.entering.saturating_sub(1);
        known.leave();
    }

    /// Everything below `mark` in the overflow is finished: who has nothing else there leaves.
    pub(crate) fn passed(&mut self, partition: i32, mark: i64) {
        if let Some(known) = self.partitions.get_mut(&partition) {
            known.finished = known.finished.max(mark);
            known.leave();
        }
    }

    /// How many tenants are in the overflow of a partition.
    pub(crate) fn tenants(&self, partition: i32) -> usize {
        self.partitions.get(&partition).map_or(0, |p| p.tenants.len())
    }

    /// The `top` tenants with most records in the overflow, most first.
    pub(crate) fn report(&self, top: usize) -> Vec<OverflowReport> {
        let tenants = self.partitions.iter().flat_map(|(&partition, known)| {
            known.tenants.iter().map(move |(tenant, entry)| OverflowReport {
                tenant: tenant.clone(),
                partition,
                records: entry.records,
            })
        });
        let mut all: Vec<_> = tenants.collect();
        all.sort_by_cached_key(|each| {
            (
                std::cmp::Reverse(each.records),
                each.tenant.clone(),
                each.partition,
            )
        });
        all.truncate(top);
        all
    }
}

impl Partition {
    /// The tenant has a record at this offset of the overflow.
    fn stands(&mut self, tenant: &TenantId, offset: i64, bounds: Bounds) -> &mut Overflowing {
        let entry = self.tenants.entry(tenant.clone()).or_default();
        let last = entry.last.map_or(offset, |last| last.max(offset));
        if let Some(before) = entry.last.replace(last) {
            self.by_last.remove(&before);
        }
        self.by_last.insert(last, tenant.clone());
        if offset >= entry.handed_on {
            entry.ahead.insert(offset);
        }
        if entry.ahead.len() > few(bounds) + 1 {
            entry.ahead.pop_first();
        }
        entry
    }

    /// Who has nothing unfinished there and nothing on its way there leaves.
    fn leave(&mut self) {
        while let Some(first) = self.by_last.first_entry()
            && *first.key() < self.finished
        {
            let tenant = first.remove();
            if let Some(entry) = self.tenants.get_mut(&tenant) {
                entry.last = None;
                if entry.entering == 0 {
                    self.tenants.remove(&tenant);
                    self.released
                        .extend(self.kept.contains_key(&tenant).then_some(tenant));
                }
            }
        }
    }

    /// The follower waits until the partition was read up to here: nothing of it may be kept back meanwhile.
    fn wait_for(&mut self, next: i64) {
        self.awaited = self.awaited.max(next);
        self.released.extend(self.kept.keys().cloned());
    }

    fn is_awaited(&self) -> bool {
        self.awaited > self.read
    }
}

impl Overflowing {
    /// Whether few are left to be handed on, those on their way there too.
    fn is_nearly_drained(&self, bounds: Bounds) -> bool {
        self.entering as usize + self.ahead.len() <= few(bounds)
    }
}

/// From how many records on a tenant is kept back: more than it sends while one is written and read again, and so few
/// that they are finished before what it sends meanwhile is more than a lane.
fn few(bounds: Bounds) -> usize {
    bounds.records_per_lane.div_ceil(4)
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;
