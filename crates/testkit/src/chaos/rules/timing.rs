//! When things came: R2 and R3.
//!
//! In: facts. Out: rules. Always: lateness counts only where no fault lies between due and seen; earliness counts always.

use std::collections::HashMap;

use carillon_schemas::NotificationId;

use super::rule_of;
use crate::chaos::{
    Kind,
    check::{Facts, Rule},
    history::{Moved, On},
};

/// What is due before so much of the load has passed counts for nothing: servers that have just started compile
/// themselves, in milliseconds.
const WARM_UP: u64 = 10_000;

/// How many are told of what came too late.
const TOLD: usize = 5;

/// Something that was due, and when it came; in Unix milliseconds.
struct Due {
    what: String,
    due: u64,
    came: u64,
}

/// Everything that had a moment and came.
fn dues(facts: &Facts<'_>) -> Vec<Due> {
    let mut dues = Vec::new();
    let first = first_seen(facts);
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

/// When each notification was first seen.
fn first_seen(facts: &Facts<'_>) -> HashMap<NotificationId, u64> {
    let mut first = HashMap::new();
    for sighting in &facts.history.sightings {
        let at = first.entry(sighting.id).or_insert(sighting.at);
        *at = sighting.at.min(*at);
    }
    first
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

/// R3: late is what comes later after its moment than a plain notification after its 202. How long that takes is the
/// machine's and another measurement's.
pub(super) fn not_late(facts: &Facts<'_>) -> Rule {
    let dues = dues(facts);
    let late = calm(facts, dues.iter().map(|d| (d.due, d.came)));
    let plain = calm(facts, plain(facts).into_iter());
    let (p99, usual) = (percentile_99(&late), percentile_99(&plain));
    let figure = format!(
        "p99 {p99} ms, of {} plain ones {usual} ms; {} undisturbed, {} disturbed",
        plain.len(),
        late.len(),
        dues.len() - late.len()
    );
    let most = usual + facts.limits.late * facts.limits.recovery_percent / 100;
    let broken = if p99 > most {
        let first = format!("p99 {p99} ms, at most {most} ms allowed");
        std::iter::once(first).chain(latest(facts, &dues)).collect()
    } else {
        Vec::new()
    };
    rule_of(
        late.len(),
        "R3",
        "late by ≤ 1 s at p99, beyond what is new",
        figure,
        broken,
    )
}

/// Those that came latest and undisturbed, so that it can be seen what came before them.
fn latest(facts: &Facts<'_>, dues: &[Due]) -> Vec<String> {
    let mut calm: Vec<_> = dues.iter().filter(|d| is_calm(facts, d.due, d.came)).collect();
    calm.sort_by_key(|d| std::cmp::Reverse(d.came.saturating_sub(d.due)));
    let told = calm.iter().take(TOLD).map(|d| {
        let at = d.due.saturating_sub(facts.history.load.start) as f64 / 1e3;
        let late = d.came.saturating_sub(d.due);
        format!("{}, due after {at:.1} s, {late} ms late", d.what)
    });
    told.collect()
}

/// When plain notifications were accepted, and first seen.
fn plain(facts: &Facts<'_>) -> Vec<(u64, u64)> {
    let first = first_seen(facts);
    let accepted = facts.history.accepted.iter().filter(|a| a.kind == Kind::Plain);
    accepted
        .filter_map(|a| Some((a.at, *first.get(&a.id)?)))
        .collect()
}

/// How late things came, in order, that were due when servers were warm and no fault lay in between.
fn calm(facts: &Facts<'_>, dues: impl Iterator<Item = (u64, u64)>) -> Vec<u64> {
    let calm = dues.filter(|(due, came)| is_calm(facts, *due, *came));
    let mut late: Vec<u64> = calm.map(|(due, came)| came.saturating_sub(due)).collect();
    late.sort_unstable();
    late
}

/// Whether servers were warm and no fault lay between.
fn is_calm(facts: &Facts<'_>, due: u64, came: u64) -> bool {
    due >= facts.history.load.start + WARM_UP && !facts.disturbed(due, came.max(due))
}

fn percentile_99(sorted: &[u64]) -> u64 {
    let at = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0)
}
