//! When things came: R2 and R3.
//!
//! In: facts. Out: rules. Always: lateness counts only where no fault lies between due and seen; earliness counts always.

use std::collections::HashMap;

use carillon_schemas::NotificationId;

use super::rule_of;
use crate::chaos::{
    check::{Facts, Rule},
    history::{Moved, On},
};

/// Something that was due, and when it came; in Unix milliseconds.
struct Due {
    what: String,
    due: u64,
    came: u64,
}

/// Everything that had a moment and came.
fn dues(facts: &Facts<'_>) -> Vec<Due> {
    let mut dues = Vec::new();
    let mut first: HashMap<NotificationId, u64> = HashMap::new();
    for sighting in &facts.history.sightings {
        let at = first.entry(sighting.id).or_insert(sighting.at);
        *at = sighting.at.min(*at);
    }
    for accepted in &facts.history.accepted {
        if let (Some(due), Some(came)) = (accepted.due, first.get(&accepted.id)) {
            dues.push(Due {
                what: super::outcomes::named(facts, accepted),
                due,
                came: *came,
            });
        }
    }
    dues.extend(facts.history.moved.iter().filter_map(|moved| back(facts, moved)));
    dues
}

/// When a record of the ladder was taken back: its next dispatch or its dead letter.
fn back(facts: &Facts<'_>, moved: &Moved) -> Option<Due> {
    let On::Retry(delay) = moved.on else { return None };
    let id = moved.id?;
    let later = |m: &&&Moved| {
        let next = if moved.check {
            m.delivery > moved.delivery
        } else {
            m.attempt > moved.attempt
        };
        m.redrive == moved.redrive && next
    };
    let dispatched = facts.dispatched.get(&id).into_iter().flatten().filter(later);
    let came = dispatched.map(|m| m.at).min()?;
    Some(Due {
        what: format!("{id} from the tier of {} s", delay / 1_000),
        due: moved.at + delay,
        came,
    })
}

/// R2.
pub(super) fn not_early(facts: &Facts<'_>) -> Rule {
    let dues = dues(facts);
    let early = dues.iter().filter(|d| d.came < d.due);
    let early: Vec<_> = early
        .map(|d| format!("{}, {} ms early", d.what, d.due - d.came))
        .collect();
    let figure = format!("{} of {} early", early.len(), dues.len());
    rule_of(dues.len(), "R2", "nothing before it is due", figure, early)
}

/// R3.
pub(super) fn not_late(facts: &Facts<'_>) -> Rule {
    let dues = dues(facts);
    let calm = dues.iter().filter(|d| !facts.disturbed(d.due, d.came.max(d.due)));
    let mut late: Vec<u64> = calm.map(|d| d.came.saturating_sub(d.due)).collect();
    late.sort_unstable();
    let p99 = late
        .get((late.len() * 99).div_ceil(100).saturating_sub(1))
        .copied();
    let p99 = p99.unwrap_or(0);
    let figure = format!(
        "p99 {p99} ms of {} undisturbed ({} disturbed)",
        late.len(),
        dues.len() - late.len()
    );
    let broken = if p99 > facts.limits.late {
        vec![format!("p99 {p99} ms, at most {} ms allowed", facts.limits.late)]
    } else {
        Vec::new()
    };
    rule_of(late.len(), "R3", "late by ≤ 1 s at p99", figure, broken)
}
