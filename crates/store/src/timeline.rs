//! Time lines: the facts of a notification in the order of its life.
//!
//! In: facts, each stamp and process once. Out: what is shown of them. Always: it begins with `accepted`.

use carillon_schemas::{
    http::TimelineEntry,
    status::{Stamp, Status},
};

/// A fact: what, when in Unix milliseconds, and which process says so.
pub(crate) type Told = (Stamp, u64, String);

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
    let later = told.into_iter().map(|(stamp, at, node)| TimelineEntry {
        status: stamp.status,
        at,
        attempt: stamp.attempt,
        redrive: stamp.redrive,
        node: Some(node),
        sessions: None,
    });
    std::iter::once(accepted).chain(later).collect()
}
