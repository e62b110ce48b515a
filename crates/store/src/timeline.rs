//! Time lines: the facts of a notification in the order of its life.
//!
//! In: facts, each stamp and process once. Out: what is shown of them. Always: it begins with `accepted`; a
//! first time is the earliest of its kind over all attempts and redrives.

use carillon_schemas::{
    http::TimelineEntry,
    status::{Stamp, Status},
};

use crate::Head;

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    /// What happened, in which attempt and redrive.
    pub(crate) stamp: Stamp,
    /// When, Unix milliseconds.
    pub(crate) at: u64,
    /// Which process says so.
    pub(crate) node: String,
    /// To how many of its sessions.
    pub(crate) sessions: Option<u32>,
}

/// In the order of stamps; of equal ones, the earlier first.
pub(crate) fn timeline(accepted_at: u64, mut told: Vec<Told>) -> Vec<TimelineEntry> {
    told.sort();
    let accepted = TimelineEntry {
        status: Status::Accepted,
        at: accepted_at,
        attempt: 1,
        redrive: 0,
        node: None,
        sessions: None,
    };
    let later = told.into_iter().map(|fact| TimelineEntry {
        status: fact.stamp.status,
        at: fact.at,
        attempt: fact.stamp.attempt,
        redrive: fact.stamp.redrive,
        node: Some(fact.node),
        sessions: fact.sessions,
    });
    std::iter::once(accepted).chain(later).collect()
}

/// What these facts and times amount to; `None` without any.
pub(crate) fn head(facts: impl Iterator<Item = (Stamp, u64)>) -> Option<Head> {
    let earlier = |first: Option<u64>, at| Some(first.map_or(at, |first: u64| first.min(at)));
    facts.fold(None, |head: Option<Head>, (stamp, at)| {
        let mut head = head.unwrap_or(Head {
            stamp,
            settled: None,
            first_delivered_at: None,
            acked_at: None,
        });
        head.stamp = head.stamp.max(stamp);
        if !stamp.status.is_receipt() {
            head.settled = head.settled.max(Some(stamp));
        }
        match stamp.status {
            Status::Delivered => head.first_delivered_at = earlier(head.first_delivered_at, at),
            Status::Acknowledged => head.acked_at = earlier(head.acked_at, at),
            _ => {}
        }
        Some(head)
    })
}
