//! Fair queueing: whose turn it is, between what was read and what is worked on.
//!
//! In: records of many tenants, as they were read. Out: batches in which every tenant that waits has its share.
//! Always: pure; a lane holds a bounded number of records and bytes, and its flood lengthens no other lane's
//! wait beyond one quantum per round; records of one stream and class leave in the order in which they came;
//! something is given whenever anything waits. A record costs a few hash look-ups, however many tenants there are.

mod lane;
pub(crate) mod ledger;
mod report;
mod slab;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;

use std::collections::HashMap;

use carillon_bus::TopicPartition;
use carillon_schemas::{Stream, TenantId, notification::Priority};
use tokio::time::Instant;

use crate::work::{Item, LaneClass};
use lane::{Lane, ring};
#[allow(unused_imports, reason = "the pipeline takes it into use")]
pub(crate) use report::{LaneReport, Report};
use slab::{Chain, Id, Slab};

/// Lanes that are remembered although nothing waits in them, beyond as many as are used.
const IDLE_LANES: usize = 1_024;

/// What waits here.
pub(crate) trait Queued {
    /// Whose it is.
    fn tenant(&self) -> &TenantId;
    /// In which of its tenant's lanes it waits.
    fn class(&self) -> LaneClass;
    /// What it must not overtake.
    fn stream(&self) -> &Stream;
    /// How its stream stands against others of its tenant.
    fn priority(&self) -> Priority;
    /// What it costs.
    fn bytes(&self) -> usize;
    /// Whether it was read from there.
    fn stands_in(&self, partition: &TopicPartition) -> bool;
}

impl LaneClass {
    /// Its share, beside the tenant's other lanes.
    fn weight(self) -> u64 {
        match self {
            Self::Ordinary => 8,
            Self::Redrive => 1,
        }
    }
}

impl Queued for Item {
    fn tenant(&self) -> &TenantId {
        self.tenant()
    }
    fn class(&self) -> LaneClass {
        self.class()
    }
    fn stream(&self) -> &Stream {
        self.stream()
    }
    fn priority(&self) -> Priority {
        self.priority()
    }
    fn bytes(&self) -> usize {
        self.bytes()
    }
    fn stands_in(&self, partition: &TopicPartition) -> bool {
        self.is_of(std::slice::from_ref(partition))
    }
}

/// Bounds of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most records in a lane; when it is full, the offer is refused.
    pub(crate) records_per_lane: usize,
    /// Most bytes in a lane; one record may be larger.
    pub(crate) bytes_per_lane: usize,
    /// Bytes per round of an ordinary lane and unit of its tenant's weight. The smaller, the shorter a victim waits
    /// for the others' turns.
    pub(crate) quantum: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            records_per_lane: 250,
            bytes_per_lane: 8 * 1024 * 1024,
            quantum: 4 * 1024,
        }
    }
}

/// Shares of tenants; 1 for those that are not named.
pub(crate) type Weights = HashMap<TenantId, u32>;

/// The queue.
pub(crate) struct Fair<T> {
    bounds: Bounds,
    weights: Weights,
    lanes: Slab<Lane>,
    streams: Slab<Waiting>,
    items: Slab<Entry<T>>,
    lane_of: [HashMap<TenantId, Id>; 2],
    /// Only streams in which something waits.
    stream_of: HashMap<(Id, Stream), Id>,
    /// The lanes in which something waits, the one whose turn it is first.
    turns: Chain,
    /// How many lanes that is.
    busy: usize,
}

/// One stream's records, in order.
struct Waiting {
    stream: Stream,
    items: Chain,
}

struct Entry<T> {
    item: Option<T>,
    cost: usize,
    ring: usize,
    since: Instant,
}

impl<T: Queued> Fair<T> {
    pub(crate) fn new(bounds: Bounds, weights: Weights) -> Self {
        Self {
            bounds,
            weights,
            lanes: Slab::default(),
            streams: Slab::default(),
            items: Slab::default(),
            lane_of: Default::default(),
            stream_of: HashMap::new(),
            turns: Chain::default(),
            busy: 0,
        }
    }

    /// How many records wait.
    pub(crate) fn len(&self) -> usize {
        self.items.used()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a lane could not take another record of this size.
    pub(crate) fn is_full(&self, tenant: &TenantId, class: LaneClass, bytes: usize) -> bool {
        let lane = self.lane_of[class as usize]
            .get(tenant)
            .map(|&id| &self.lanes[id]);
        lane.is_some_and(|lane| {
            lane.records >= self.bounds.records_per_lane
                || (lane.records > 0 && lane.bytes + bytes > self.bounds.bytes_per_lane)
        })
    }

    /// Lets a record wait, or gives it back when its lane is full.
    pub(crate) fn offer(&mut self, item: T, now: Instant) -> Result<(), T> {
        if self.is_full(item.tenant(), item.class(), item.bytes()) {
            return Err(item);
        }
        self.push(item, now);
        Ok(())
    }

    /// Lets a record wait although its lane may be full: for the few that must not take another way. Its caller
    /// bounds how many that are.
    pub(crate) fn push(&mut self, item: T, now: Instant) {
        let lane = self.lane(item.tenant(), item.class());
        let cost = item.bytes().max(1);
        let ring = ring(item.priority());
        self.lanes[lane].records += 1;
        self.lanes[lane].bytes += cost;
        if self.lanes[lane].records == 1 {
            self.turns.push(&mut self.lanes, lane);
            self.busy += 1;
        }
        let key = (lane, item.stream().clone());
        let stream = match self.stream_of.get(&key) {
            Some(&stream) => stream,
            None => {
                let stream = self.streams.insert(Waiting {
                    stream: key.1.clone(),
                    items: Chain::default(),
                });
                self.stream_of.insert(key, stream);
                self.lanes[lane].rings[ring].push(&mut self.streams, stream);
                stream
            }
        };
        let entry = self.items.insert(Entry {
            item: Some(item),
            cost,
            ring,
            since: now,
        });
        self.streams[stream].items.push(&mut self.items, entry);
    }

    fn lane(&mut self, tenant: &TenantId, class: LaneClass) -> Id {
        if let Some(&lane) = self.lane_of[class as usize].get(tenant) {
            return lane;
        }
        if self.lanes.used() >= 2 * self.busy + IDLE_LANES {
            self.forget_idle();
        }
        let weight = self.weights.get(tenant).copied().unwrap_or(1).max(1);
        let quantum = self.bounds.quantum * class.weight() * u64::from(weight) / LaneClass::Ordinary.weight();
        let lane = self
            .lanes
            .insert(Lane::new(tenant.clone(), class, quantum.max(1)));
        self.lane_of[class as usize].insert(tenant.clone(), lane);
        lane
    }

    fn forget_idle(&mut self) {
        for lanes in &mut self.lane_of {
            lanes.retain(|_, lane| {
                let busy = self.lanes[*lane].records > 0;
                if !busy {
                    self.lanes.release(*lane);
                }
                busy
            });
        }
    }

    /// The next batch: at most so many records and bytes, though at least one record when any waits.
    pub(crate) fn take(&mut self, records: usize, bytes: usize, now: Instant) -> Vec<T> {
        let mut taken = Vec::with_capacity(records.min(self.len()));
        let mut left = bytes;
        while taken.len() < records
            && let Some(lane) = self.turns.first()
            && let Some(ring) = self.lanes[lane].next()
        {
            let cost = self.cost_of_next(lane, ring);
            let turn = &mut self.lanes[lane];
            if !turn.in_turn {
                turn.in_turn = true;
                turn.deficit += turn.quantum;
            }
            if cost as u64 > turn.deficit {
                turn.in_turn = false;
                self.turns.pop(&mut self.lanes);
                self.turns.push(&mut self.lanes, lane);
                continue;
            }
            if cost > left && !taken.is_empty() {
                break;
            }
            left = left.saturating_sub(cost);
            self.lanes[lane].deficit -= cost as u64;
            taken.extend(self.take_next(lane, ring, now));
        }
        taken
    }

    fn cost_of_next(&self, lane: Id, ring: usize) -> usize {
        let stream = self.lanes[lane].rings[ring].first();
        let item = stream.and_then(|stream| self.streams[stream].items.first());
        item.map_or(0, |item| self.items[item].cost)
    }

    /// Takes the first record of the first stream of a ring; the stream goes to the end of its next record's ring.
    fn take_next(&mut self, lane_id: Id, ring: usize, now: Instant) -> Option<T> {
        let lane = &mut self.lanes[lane_id];
        lane.served(ring);
        let stream = lane.rings[ring].pop(&mut self.streams)?;
        let item = self.streams[stream].items.pop(&mut self.items)?;
        match self.streams[stream].items.first() {
            Some(next) => lane.rings[self.items[next].ring].push(&mut self.streams, stream),
            None => {
                let key = (lane_id, self.streams[stream].stream.clone());
                self.stream_of.remove(&key);
                self.streams.release(stream);
            }
        }
        let entry = &mut self.items[item];
        lane.records -= 1;
        lane.bytes -= entry.cost;
        lane.taken += 1;
        lane.longest_wait = lane.longest_wait.max(now.saturating_duration_since(entry.since));
        let taken = entry.item.take();
        self.items.release(item);
        if self.lanes[lane_id].records == 0 {
            self.lanes[lane_id].rest();
            self.turns.pop(&mut self.lanes);
            self.busy -= 1;
        }
        taken
    }

    /// Takes out what stands in partitions that another router is about to get. What stays keeps its order.
    pub(crate) fn drop_partitions(&mut self, gone: &[TopicPartition]) -> Vec<T> {
        let mut dropped = Vec::new();
        let mut turns = std::mem::take(&mut self.turns);
        while let Some(lane) = turns.pop(&mut self.lanes) {
            let rings = std::mem::take(&mut self.lanes[lane].rings);
            for mut ring in rings {
                while let Some(stream) = ring.pop(&mut self.streams) {
                    self.drop_from(lane, stream, gone, &mut dropped);
                }
            }
            if self.lanes[lane].records > 0 {
                self.turns.push(&mut self.lanes, lane);
            } else {
                self.lanes[lane].rest();
                self.busy -= 1;
            }
        }
        dropped
    }

    fn drop_from(&mut self, lane_id: Id, stream: Id, gone: &[TopicPartition], dropped: &mut Vec<T>) {
        let goes = |item: &T| gone.iter().any(|partition| item.stands_in(partition));
        let mut before = std::mem::take(&mut self.streams[stream].items);
        while let Some(item) = before.pop(&mut self.items) {
            let entry = &mut self.items[item];
            if entry.item.as_ref().is_some_and(goes) {
                self.lanes[lane_id].records -= 1;
                self.lanes[lane_id].bytes -= entry.cost;
                dropped.extend(entry.item.take());
                self.items.release(item);
            } else {
                self.streams[stream].items.push(&mut self.items, item);
            }
        }
        match self.streams[stream].items.first() {
            Some(first) => {
                let ring = self.items[first].ring;
                self.lanes[lane_id].rings[ring].push(&mut self.streams, stream);
            }
            None => {
                let key = (lane_id, self.streams[stream].stream.clone());
                self.stream_of.remove(&key);
                self.streams.release(stream);
            }
        }
    }
}
