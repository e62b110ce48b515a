//! Reports: what the queue looks like, for metrics.
//!
//! In: the lanes. Out: figures of the busiest ones by name, and of all others together.
//! Always: labels are bounded by who asks; reading the figures changes no turn.

use std::time::Duration;

use carillon_schemas::TenantId;
use tokio::time::Instant;

use super::{Fair, Queued, slab::Id};
use crate::work::LaneClass;

/// Figures of a lane, or of several together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    /// Records that wait.
    pub(crate) records: usize,
    /// Bytes that wait.
    pub(crate) bytes: usize,
    /// Records taken since the last report.
    pub(crate) taken: u64,
    /// The longest wait of a record that was taken since the last report or waits now.
    pub(crate) longest_wait: Duration,
}

/// Figures of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaneReport {
    pub(crate) tenant: TenantId,
    pub(crate) class: LaneClass,
    pub(crate) figures: Figures,
}

/// Figures of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// The busiest lanes, most waiting first.
    pub(crate) top: Vec<LaneReport>,
    /// All others.
    pub(crate) others: Figures,
}

impl<T: Queued> Fair<T> {
    /// Figures of the `top` busiest lanes and of the rest, since the last report.
    pub(crate) fn report(&mut self, top: usize, now: Instant) -> Report {
        let ids = self.lane_of.iter().flat_map(|lanes| lanes.values().copied());
        let mut lanes: Vec<(Figures, Id)> = ids.map(|id| (self.figures(id, now), id)).collect();
        let busier = |(figures, id): &(Figures, Id)| {
            let key = (figures.records, figures.taken, figures.bytes);
            (std::cmp::Reverse(key), self.lanes[*id].tenant.clone())
        };
        lanes.sort_by_cached_key(busier);
        let mut report = Report {
            top: Vec::with_capacity(top.min(lanes.len())),
            others: Figures::default(),
        };
        for (figures, id) in lanes {
            let lane = &mut self.lanes[id];
            lane.taken = 0;
            lane.longest_wait = Duration::ZERO;
            if report.top.len() < top {
                report.top.push(LaneReport {
                    tenant: lane.tenant.clone(),
                    class: lane.class,
                    figures,
                });
            } else {
                report.others.add(figures);
            }
        }
        report
    }

    fn figures(&self, id: Id, now: Instant) -> Figures {
        let lane = &self.lanes[id];
        let streams = lane.rings.iter().flat_map(|ring| ring.iter(&self.streams));
        let oldest = streams
            .filter_map(|stream| self.streams[stream].items.first())
            .map(|item| self.items[item].since)
            .min();
        let waits = oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        Figures {
            records: lane.records,
            bytes: lane.bytes,
            taken: lane.taken,
            longest_wait: lane.longest_wait.max(waits),
        }
    }
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.taken += other.taken;
        self.longest_wait = self.longest_wait.max(other.longest_wait);
    }
}
