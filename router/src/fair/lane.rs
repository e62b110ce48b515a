//! Lanes: what one tenant has waiting in one class, and which of its streams is next.
//!
//! In: streams, by the priority of their first record. Out: the priority whose turn it is. Always: pure; a
//! priority with something waiting gets its share of the turns, and none starves.

use std::time::Duration;

use carillon_schemas::{TenantId, notification::Priority};

use super::slab::Chain;
use crate::work::LaneClass;

/// Turns of high, normal and low, when all three wait.
const SHARES: [i32; 3] = [4, 2, 1];

/// One tenant's records of one class.
pub(super) struct Lane {
    pub(super) tenant: TenantId,
    pub(super) class: LaneClass,
    /// Bytes that it may send per round.
    pub(super) quantum: u64,
    /// Bytes that it may send now.
    pub(super) deficit: u64,
    /// Whether this round's quantum is in the deficit already.
    pub(super) in_turn: bool,
    pub(super) records: usize,
    pub(super) bytes: usize,
    /// Streams by the priority of their first record. A stream is in one of them.
    pub(super) rings: [Chain; 3],
    /// What each priority is owed (smooth weighted round robin).
    credit: [i32; 3],
    /// Since the last report.
    pub(super) taken: u64,
    pub(super) longest_wait: Duration,
}

impl Lane {
    pub(super) fn new(tenant: TenantId, class: LaneClass, quantum: u64) -> Self {
        Self {
            tenant,
            class,
            quantum,
            deficit: 0,
            in_turn: false,
            records: 0,
            bytes: 0,
            rings: [Chain::default(); 3],
            credit: [0; 3],
            taken: 0,
            longest_wait: Duration::ZERO,
        }
    }

    /// Whose turn it is: the priority that is owed most. The same answer until something comes or goes.
    pub(super) fn next(&self) -> Option<usize> {
        let waiting = (0..3).filter(|&ring| !self.rings[ring].is_empty());
        waiting.max_by_key(|&ring| (self.credit[ring] + SHARES[ring], -(ring as i32)))
    }

    /// This priority had its turn.
    pub(super) fn served(&mut self, served: usize) {
        let mut shared = 0;
        for (ring, share) in SHARES.into_iter().enumerate() {
            if !self.rings[ring].is_empty() {
                self.credit[ring] += share;
                shared += share;
            }
        }
        self.credit[served] -= shared;
    }

    /// Nothing waits any more: nothing is owed either.
    pub(super) fn rest(&mut self) {
        self.deficit = 0;
        self.in_turn = false;
        self.credit = [0; 3];
    }
}

/// The ring of a priority.
pub(super) fn ring(priority: Priority) -> usize {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}
