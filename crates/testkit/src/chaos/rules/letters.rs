//! Dead letters and the ladder: R8, R10, and what became of poison.
//!
//! In: facts. Out: rules. Always: a dead letter that nobody asked for is a failure of the router, even though nothing
//! is lost by it.

use std::collections::{HashMap, HashSet};

use super::{rule, rule_of};
use crate::chaos::{
    Kind,
    check::{Facts, Rule},
    history::{Moved, On},
};

/// R8: whatever was away, only what deserves it stands on the ladder or among the dead letters.
pub(super) fn nothing_unasked(facts: &Facts<'_>) -> Rule {
    let deserved = |moved: &Moved| {
        let kind = moved.id.and_then(|id| facts.accepted.get(&id)).map(|a| a.kind);
        match (moved.on, kind) {
            (On::DeadLetters, Some(kind)) => matches!(kind, Kind::TooLarge | Kind::Unacked),
            (On::Retry(_), Some(kind)) => moved.check && kind.repeats(),
            // Nobody's but the poison producer's; what has no 202 cannot be told.
            (On::DeadLetters | On::Retry(_), None) => true,
            _ => true,
        }
    };
    let asides = facts.history.moved.iter();
    let asides = asides.filter(|m| matches!(m.on, On::DeadLetters | On::Retry(_)));
    let unasked: Vec<_> = asides
        .clone()
        .filter(|moved| !deserved(moved))
        .map(|m| format!("{:?} on {:?}: {:?}", m.id, m.on, m.code))
        .collect();
    let figure = format!("{} of {} records", unasked.len(), asides.count());
    rule(
        "R8",
        "an outage sends nothing to retry or dead letters",
        figure,
        unasked,
    )
}

/// R10: what was put back in is dispatched once for each time.
pub(super) fn redriven_once(facts: &Facts<'_>) -> Rule {
    let redriven = facts.history.moved.iter().filter(|m| m.on == On::Redrive);
    let redriven: HashSet<_> = redriven.filter_map(|m| Some((m.id?, m.redrive))).collect();
    let mut dispatched: HashMap<_, HashSet<u32>> = HashMap::new();
    for moved in facts.dispatched.values().flatten().filter(|m| m.redrive > 0) {
        if let Some(id) = moved.id {
            let counts = dispatched.entry((id, moved.redrive)).or_default();
            counts.insert(moved.delivery);
        }
    }
    let repeats = |id| facts.accepted.get(id).is_some_and(|a| a.kind.repeats());
    let twice: Vec<_> = dispatched
        .iter()
        .filter(|((id, _), counts)| counts.len() > 1 && !repeats(id))
        .map(|((id, redrive), counts)| format!("{id} in redrive {redrive} as {counts:?}"))
        .collect();
    let figure = format!("{} redriven, {} twice", redriven.len(), twice.len());
    rule_of(redriven.len(), "R10", "redrive is idempotent", figure, twice)
}

/// Every record of the poison producer is a dead letter with the same bytes.
pub(super) fn poison_kept(facts: &Facts<'_>) -> Rule {
    let letters = facts.history.moved.iter().filter(|m| m.on == On::DeadLetters);
    let letters: HashMap<u64, &Moved> = letters.filter_map(|m| Some((m.poison?, m))).collect();
    let mut wrong = Vec::new();
    for poison in &facts.history.poison {
        match letters.get(&poison.mark) {
            None => wrong.push(format!("{} ({}) is gone", poison.mark, poison.what)),
            Some(letter) if letter.value != poison.value => {
                wrong.push(format!("{} ({}) is not as it was", poison.mark, poison.what));
            }
            Some(_) => {}
        }
    }
    let planted = facts.history.poison.len();
    let figure = format!("{} of {planted} gone or changed", wrong.len());
    let says = "poison is kept, byte for byte";
    rule_of(planted, "poison", says, figure, wrong)
}
