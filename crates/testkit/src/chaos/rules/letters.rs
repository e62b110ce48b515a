//! Dead letters and the ladder: R8, R10, acknowledgements, and what became of poison.
//!
//! In: facts. Out: rules. Always: a dead letter that nobody asked for is a failure of the router, even though nothing
//! is lost by it.

use std::collections::{HashMap, HashSet};

use carillon_schemas::status::Status;

use super::{outcomes::named, rule, rule_of};
use crate::chaos::{
    Kind,
    check::{Facts, Rule},
    history::{Accepted, Moved, On},
};

/// Why a dead letter is one that nobody acknowledged, and one that its channel does not take.
const NOT_ACKNOWLEDGED: &str = "not_acknowledged";
const CHANNEL_LIMIT: &str = "channel_limit";

/// R8: whatever was away, only what deserves it stands on the ladder or among the dead letters.
pub(super) fn nothing_unasked(facts: &Facts<'_>) -> Rule {
    let deserved = |moved: &Moved| {
        let accepted = moved.id.and_then(|id| facts.accepted.get(&id));
        match (moved.on, accepted) {
            (On::DeadLetters, Some(accepted)) => letter_deserved(facts, accepted, moved),
            (On::Retry(_), Some(accepted)) => moved.check && accepted.kind.repeats(),
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

fn letter_deserved(facts: &Facts<'_>, accepted: &Accepted, letter: &Moved) -> bool {
    let code = letter.code.as_deref();
    match accepted.kind {
        Kind::TooLarge => code == Some(CHANNEL_LIMIT),
        Kind::Unacked => code == Some(NOT_ACKNOWLEDGED),
        // Whoever was to acknowledge it, or the way back, may have been away for the whole of a short ladder.
        Kind::Acked => code == Some(NOT_ACKNOWLEDGED) && facts.disturbed(accepted.at, letter.at),
        _ => false,
    }
}

/// What nobody acknowledged ends among the dead letters, and what was acknowledged says so.
pub(super) fn acknowledged(facts: &Facts<'_>) -> Rule {
    let mut wrong = Vec::new();
    let (mut told, mut of, mut given_up, mut ignored) = (0, 0, 0, 0);
    let asking = facts.history.accepted.iter().filter(|a| a.kind.repeats());
    for accepted in asking.clone() {
        let dead = facts.dead.contains_key(&accepted.id);
        let state = facts.history.states.get(&accepted.id).copied();
        let acknowledged = state == Some(Status::Acknowledged);
        if accepted.kind == Kind::Acked {
            (told, of) = (told + usize::from(acknowledged), of + 1);
        } else {
            (given_up, ignored) = (given_up + usize::from(dead), ignored + 1);
        }
        let right = dead || (accepted.kind == Kind::Acked && acknowledged);
        if !right {
            wrong.push(format!(
                "{} is {state:?} and no dead letter",
                named(facts, accepted)
            ));
        }
    }
    let figure = format!("{told} of {of} told as acknowledged, {given_up} of {ignored} given up");
    let says = "unacknowledged ⇒ dead letter; else told";
    rule_of(asking.count(), "acks", says, figure, wrong)
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
