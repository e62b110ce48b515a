//! The overflow's rim: records that do not fit their lane, on their way there and back.
//!
//! In: records of the notifications partitions and of the overflow that mirrors them, what was found there when a
//! partition was taken over. Out: records in the lanes, records to be written to the overflow. Always: which way a
//! record goes is the ledger's word; what waits here is bounded by what the consumers hand out, which pause then, and
//! what is kept back of a tenant by its lane's bounds.

mod kept;
mod take_over;
#[cfg(test)]
mod tests;
mod write;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use carillon_bus::{Record, TopicPartition};
use carillon_schemas::{TenantId, headers};
use tokio::time::Instant;

use crate::{
    fair::{
        Bounds, Fair,
        ledger::{Ledger, OverflowReport, Way},
    },
    work::Item,
};
use kept::Kept;
#[cfg(test)]
pub(crate) use take_over::Seen;
pub(crate) use take_over::{Found, TakeOver, Taker};
pub(crate) use write::{Placed, Writer};

/// The lanes behind.
type Lanes = Fair<Item>;

/// What the overflow needs of the consumers: a follower of chosen partitions of its topic, and where to let records go.
pub(crate) trait Consumers {
    /// The follower is to have these too.
    fn follow(&self, partitions: &[i32]);
    /// They are another router's soon. Their end is not waited for.
    fn unfollow(&self, partitions: &[i32]);
    /// Where the follower began with one that it has.
    fn begun_at(&self, partition: i32) -> Option<i64>;
    /// Everything below this was finished of what the follower of this topic read of it; none before its first record.
    fn low_water(&self, topic: &str, partition: i32) -> Option<i64>;
    /// This record was handled.
    fn finish(&self, item: &Item);
    /// This record was not begun, and who has its partition next gets it.
    fn let_go(&self, item: &Item);
}

/// What is known of the overflow of the partitions that are here.
pub(crate) struct Overflow<C> {
    consumers: C,
    notifications: Arc<str>,
    topic: Arc<str>,
    ledger: Ledger,
    owned: BTreeMap<i32, Owned>,
    /// Counts partitions that were taken over, so that an answer about one that went meanwhile is told apart.
    taken: u64,
    /// Records of the notifications partitions that wait until their tenant leaves the overflow.
    kept: Kept,
    /// To be written to the overflow, in order.
    spilled: VecDeque<Item>,
    /// How many records of a partition are being written there.
    writing: HashMap<i32, usize>,
    /// Partitions whose overflow is to be looked through.
    asked: VecDeque<TakeOver>,
}

/// A partition that is here.
struct Owned {
    number: u64,
    /// How many records that went before it was taken over are still being written to its overflow. It is not
    /// looked through before they stand there: they would be found beside the scan, and what stood before them in the
    /// notifications partition would follow them.
    former: usize,
    /// Where the follower began. What it hands over before was read for the ownership before, and is read again.
    begun: Option<i64>,
    /// Records of the notifications partition whose way is not known yet.
    pending: VecDeque<Item>,
    /// How far the notifications partition is read when they are on their way.
    heard: i64,
    /// Records of the overflow that may not be handed on yet, each tenant's in order.
    following: BTreeMap<TenantId, VecDeque<Item>>,
}

impl<C: Consumers> Overflow<C> {
    pub(crate) fn new(consumers: C, notifications: &str, topic: &str, bounds: Bounds) -> Self {
        Self {
            consumers,
            notifications: notifications.into(),
            topic: topic.into(),
            ledger: Ledger::new(bounds),
            owned: BTreeMap::new(),
            taken: 0,
            kept: Kept::default(),
            spilled: VecDeque::new(),
            writing: HashMap::new(),
            asked: VecDeque::new(),
        }
    }

    /// These partitions of the notifications topic are here now: their overflow is followed, and looked through
    /// before any of their records goes on.
    pub(crate) fn own(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            self.taken += 1;
            let owned = Owned {
                number: self.taken,
                former: self.writing.get(&partition).copied().unwrap_or(0),
                begun: None,
                pending: VecDeque::new(),
                heard: 0,
                following: BTreeMap::new(),
            };
            self.owned.insert(partition, owned);
        }
        self.consumers.follow(partitions);
    }

    /// The follower is at what is committed of these. Of a partition that went and came back this may be told twice:
    /// it is asked about once, because what was found is not all that is known any more when it is found again.
    pub(crate) fn begun(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions.iter().map(|p| p.partition) {
            let from = self.consumers.begun_at(partition);
            if let (Some(owned), Some(from)) = (self.owned.get_mut(&partition), from)
                && owned.begun.is_none()
            {
                owned.begun = Some(from);
                self.ask(partition);
            }
        }
    }

    /// Asks what the overflow of a partition holds, once the follower has begun and nothing older is on its way there.
    fn ask(&mut self, partition: i32) {
        if let Some(owned) = self.owned.get(&partition)
            && owned.former == 0
            && let Some(from) = owned.begun
        {
            let number = owned.number;
            self.asked.push_back(TakeOver {
                partition,
                number,
                from,
            });
        }
    }

    /// These go. Gives what was not begun of them, and the partitions of the overflow that go with them.
    pub(crate) fn disown(&mut self, partitions: &[i32]) -> (Vec<Item>, Vec<TopicPartition>) {
        let mut gone = Vec::new();
        for partition in partitions {
            self.ledger.revoked(*partition);
            let owned = self.owned.remove(partition);
            if let Some(owned) = owned {
                gone.extend(owned.pending);
                gone.extend(owned.following.into_values().flatten());
            }
        }
        gone.extend(self.kept.drop_partitions(partitions));
        self.consumers.unfollow(partitions);
        // What is being written goes on: its place there is certain only then.
        let goes = |item: &Item| partitions.contains(&item.record.partition);
        let (spilled, stays) = self.spilled.drain(..).partition::<VecDeque<_>, _>(goes);
        self.spilled = stays;
        gone.extend(spilled);
        let mirror = |partition: &i32| TopicPartition {
            topic: Arc::clone(&self.topic),
            partition: *partition,
        };
        (gone, partitions.iter().map(mirror).collect())
    }

    /// A record of a notifications partition.
    pub(crate) fn hear(&mut self, item: Item, lanes: &mut Lanes) {
        let partition = item.record.partition;
        match self.owned.get_mut(&partition) {
            Some(owned) if !self.ledger.is_ready(partition) => owned.pending.push_back(item),
            Some(_) => self.pass(item, lanes),
            // Its partition went between its reading and now.
            None => self.consumers.let_go(&item),
        }
    }

    /// A notifications partition is read up to here.
    pub(crate) fn heard(&mut self, partition: i32, next: i64) {
        if let Some(owned) = self.owned.get_mut(&partition) {
            owned.heard = owned.heard.max(next);
            self.ledger.read(partition, next);
        }
    }

    fn pass(&mut self, item: Item, lanes: &mut Lanes) {
        self.leave(item.record.partition, lanes);
        self.send(item, lanes);
    }

    fn send(&mut self, item: Item, lanes: &mut Lanes) {
        let Record {
            partition, offset, ..
        } = item.record;
        match self.ledger.way(partition, item.tenant(), offset) {
            Way::Wait => self.consumers.let_go(&item),
            Way::There => self.consumers.finish(&item),
            Way::Push => lanes.push(item, Instant::now()),
            Way::Offer => {
                if let Err(item) = lanes.offer(item, Instant::now()) {
                    self.spill(item);
                }
            }
            Way::Overflow => self.spill(item),
            Way::KeepBack => self.keep_back(item),
        }
    }

    /// Behind what is kept back of its tenant, or with that into the overflow.
    fn keep_back(&mut self, item: Item) {
        let (partition, tenant) = (item.record.partition, item.tenant().clone());
        let fits = self.ledger.keep(partition, &tenant, item.bytes());
        self.kept.push(item);
        if !fits {
            let kept = self.kept.take(partition, &tenant);
            kept.into_iter().for_each(|item| self.spill(item));
        }
    }

    fn spill(&mut self, item: Item) {
        self.ledger.enter(item.record.partition, item.tenant());
        self.spilled.push_back(item);
    }

    /// Who has nothing unfinished in the overflow of a partition leaves it, and what was kept back of it goes on.
    fn leave(&mut self, partition: i32, lanes: &mut Lanes) {
        if self.ledger.tenants(partition) > 0
            && let Some(mark) = self.consumers.low_water(&self.topic, partition)
        {
            self.ledger.passed(partition, mark);
        }
        while let Some(tenant) = self.ledger.released(partition) {
            let kept = self.kept.take(partition, &tenant);
            kept.into_iter().for_each(|item| self.send(item, lanes));
        }
    }

    /// It is known what the overflow of a partition holds.
    pub(crate) fn found(&mut self, found: Found, lanes: &mut Lanes) {
        let Found {
            partition,
            number,
            from,
            end,
            records,
        } = found;
        let Some(owned) = self
            .owned
            .get_mut(&partition)
            .filter(|owned| owned.number == number)
        else {
            return;
        };
        let pending = std::mem::take(&mut owned.pending);
        let heard = owned.heard;
        self.ledger.assigned(partition, from);
        for (tenant, offset, place) in records {
            self.ledger.found(partition, &tenant, offset, place);
        }
        self.ledger.scanned(partition, end);
        for item in pending {
            let offset = item.record.offset;
            self.pass(item, lanes);
            self.ledger.read(partition, offset + 1);
        }
        self.ledger.read(partition, heard);
    }

    /// A record of the overflow.
    pub(crate) fn follow(&mut self, item: Item) {
        match self.owned.get_mut(&item.record.partition) {
            Some(owned) if owned.begun.is_some() => {
                let tenant = item.tenant().clone();
                owned.following.entry(tenant).or_default().push_back(item);
            }
            _ => self.consumers.let_go(&item),
        }
    }

    /// Hands on what may be handed on of the overflow and fits its lane, and what need not be kept back any longer.
    /// Who does not fit lets others pass. Only the first of each tenant is looked at: this is asked at every event.
    pub(crate) fn advance(&mut self, lanes: &mut Lanes) {
        for (&partition, owned) in &mut self.owned {
            if owned.following.is_empty() || !self.ledger.is_ready(partition) {
                continue;
            }
            owned.following.retain(|tenant, items| {
                while let Some(item) = items.front() {
                    let (offset, place) = (item.record.offset, place_of(&item.record, &self.notifications));
                    let may = self.ledger.may_follow(partition, offset, place)
                        && !lanes.is_full(tenant, item.class(), item.bytes());
                    if !may {
                        break;
                    }
                    self.ledger.handed_on(partition, tenant, offset);
                    if let Some(item) = items.pop_front() {
                        lanes.push(item, Instant::now());
                    }
                }
                !items.is_empty()
            });
        }
        for partition in self.kept.partitions() {
            self.leave(partition, lanes);
        }
    }

    /// Whether records wait for their tenant to leave the overflow: then what is finished there is to be told with
    /// [`Overflow::advance`].
    pub(crate) fn keeps_back(&self) -> bool {
        !self.kept.is_empty()
    }

    /// What the `top` tenants with most have there.
    pub(crate) fn report(&self, top: usize) -> Vec<OverflowReport> {
        self.ledger.report(top)
    }

    /// It stands in the overflow now.
    pub(crate) fn placed(&mut self, placed: &Placed) {
        let Placed {
            partition,
            tenant,
            offset,
        } = placed;
        if let Some(writing) = self.writing.get_mut(partition) {
            *writing -= 1;
        }
        // They are written in order, so those of before come first.
        match self.owned.get_mut(partition) {
            Some(owned) if owned.former > 0 => {
                owned.former -= 1;
                self.ask(*partition);
            }
            _ => self.ledger.placed(*partition, tenant, *offset),
        }
    }

    /// The next record to be written to the overflow.
    pub(crate) fn next_spilled(&mut self) -> Option<Item> {
        let item = self.spilled.pop_front()?;
        *self.writing.entry(item.record.partition).or_default() += 1;
        Some(item)
    }

    /// Whether a record waits to be written to the overflow.
    pub(crate) fn is_spilling(&self) -> bool {
        !self.spilled.is_empty()
    }

    /// The next partition whose overflow is to be looked through.
    pub(crate) fn next_asked(&mut self) -> Option<TakeOver> {
        self.asked.pop_front()
    }

    /// Whether a partition waits to be looked through.
    pub(crate) fn is_asking(&self) -> bool {
        !self.asked.is_empty()
    }
}

/// For a schedule of the simulation that fails.
#[cfg(test)]
impl<C> std::fmt::Debug for Overflow<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (partition, owned) in &self.owned {
            let Owned {
                number,
                former,
                begun,
                pending,
                heard,
                following,
            } = owned;
            let following: usize = following.values().map(VecDeque::len).sum();
            write!(
                f,
                "[{partition}: taken {number}, former {former}, begun {begun:?}, pending {}, heard {heard}, following {following}] ",
                pending.len()
            )?;
        }
        let (spilled, asked, kept) = (self.spilled.len(), self.asked.len(), self.kept.partitions());
        write!(
            f,
            "spilled {spilled}, asked {asked}, kept back {kept:?}, {:?}",
            self.ledger
        )
    }
}

/// Where a record of the overflow stood in the notifications partition that it mirrors, if it came from there.
fn place_of(record: &Record, notifications: &str) -> Option<i64> {
    let mut parts = record.headers.text(headers::ORIGIN)?.rsplit('/');
    let offset = parts.next()?.parse().ok()?;
    let partition: i32 = parts.next()?.parse().ok()?;
    let here = parts.next() == Some(notifications) && partition == record.partition;
    here.then_some(offset)
}
