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

/// What is due before so much of the load has passed counts for nothing: servers that have just started compile
/// themselves, in milliseconds.
const WARM_UP: u64 = 10_000;

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
                // What was not accepted before its moment is due at once.
                due: due.max(accepted.at.min(*came)),
                came: *came,
            });
        }
    }
    dues.extend(backs(facts));
    dues
}

/// Which records of the ladder are one: a crash may write the same one again.
type Waiting = (NotificationId, u8, bool, u32, u8);

/// When records of the ladder were taken back: their next dispatch or their dead letter.
fn backs(facts: &Facts<'_>) -> Vec<Due> {
    let mut first: HashMap<Waiting, (&Moved, u64)> = HashMap::new();
    for moved in &facts.history.moved {
        if let (On::Retry(delay), Some(id)) = (moved.on, moved.id) {
            let waiting = (id, moved.redrive, moved.check, moved.delivery, moved.attempt);
            let earliest = first.entry(waiting).or_insert((moved, delay));
            if moved.at < earliest.0.at {
                *earliest = (moved, delay);
            }
        }
    }
    let back = |((id, ..), (moved, delay)): (Waiting, (&Moved, u64))| back(facts, id, moved, delay);
    first.into_iter().filter_map(back).collect()
}

fn back(facts: &Facts<'_>, id: NotificationId, moved: &Moved, delay: u64) -> Option<Due> {
    let later = |m: &&&Moved| {
        let next = if moved.check {
            m.delivery > moved.delivery
        } else {
            m.attempt > moved.attempt
        };
        m.redrive == moved.redrive && next
    };
    let ended = |m: &&&Moved| {
        let of_this = m.delivery == moved.delivery && m.attempt >= moved.attempt;
        m.redrive == moved.redrive && moved.check && of_this
    };
    let dispatched = facts.dispatched.get(&id).into_iter().flatten().filter(later);
    let dead = facts.dead.get(&id).into_iter().flatten().filter(ended);
    let came = dispatched.chain(dead).map(|m| m.at).min()?;
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
    let warm = facts.history.load.start + WARM_UP;
    let calm = dues
        .iter()
        .filter(|d| d.due >= warm && !facts.disturbed(d.due, d.came.max(d.due)));
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
    let most = facts.limits.late * facts.limits.recovery_percent / 100;
    let broken = if p99 > most {
        vec![format!("p99 {p99} ms, at most {most} ms allowed")]
    } else {
        Vec::new()
    };
    rule_of(late.len(), "R3", "late by ≤ 1 s at p99", figure, broken)
}
