//! What became of everything: R1, R5, R6, R9, and whether states and ends agree.
//!
//! In: facts. Out: rules. Always: a notification counts once, by the best that can be shown of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use carillon_schemas::status::Status;

use super::{rule, rule_of};
use crate::chaos::{
    Kind,
    check::{Facts, Rule},
    history::{Accepted, On},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Outcome {
    Delivered,
    Waiting,
    Dead,
    Told,
    Lost,
}

/// R1.
pub(super) fn accounted(facts: &Facts<'_>) -> Rule {
    let newest = newest_of_keys(facts);
    let mut count: BTreeMap<Outcome, usize> = BTreeMap::new();
    let mut lost = Vec::new();
    for accepted in &facts.history.accepted {
        let outcome = outcome(facts, accepted, &newest);
        *count.entry(outcome).or_default() += 1;
        if outcome == Outcome::Lost {
            let state = facts.history.states.get(&accepted.id);
            lost.push(format!("{} is {state:?}", named(facts, accepted)));
        }
    }
    let n = |outcome| count.get(&outcome).copied().unwrap_or(0);
    let figure = format!(
        "{} = {} delivered + {} waiting + {} dead + {} told + {} lost",
        facts.history.accepted.len(),
        n(Outcome::Delivered),
        n(Outcome::Waiting),
        n(Outcome::Dead),
        n(Outcome::Told),
        n(Outcome::Lost)
    );
    let says = "accepted ⇒ delivered, waiting, dead or told";
    rule_of(facts.history.accepted.len(), "R1", says, figure, lost)
}

/// The greatest number of each collapse key of each place.
fn newest_of_keys<'a>(facts: &Facts<'a>) -> HashMap<(usize, &'a str), u64> {
    let mut newest = HashMap::new();
    for accepted in &facts.history.accepted {
        if let Some(key) = &accepted.key {
            let number = newest.entry((accepted.place, key.as_str())).or_default();
            *number = accepted.number.max(*number);
        }
    }
    newest
}

fn outcome(facts: &Facts<'_>, accepted: &Accepted, newest: &HashMap<(usize, &str), u64>) -> Outcome {
    let state = facts.history.states.get(&accepted.id).copied();
    if facts.delivered(accepted.id) {
        return Outcome::Delivered;
    }
    if facts.dead.contains_key(&accepted.id) {
        return Outcome::Dead;
    }
    match state {
        Some(Status::Collapsed) => {
            let key = (accepted.place, accepted.key.as_deref().unwrap_or_default());
            let newer = newest.get(&key).is_some_and(|newest| *newest > accepted.number);
            if newer { Outcome::Told } else { Outcome::Lost }
        }
        Some(status @ (Status::Expired | Status::Cancelled)) if accepted.kind.may_end(status) => {
            Outcome::Told
        }
        Some(Status::Scheduled) if accepted.due > Some(facts.history.load.end) => Outcome::Waiting,
        Some(Status::Retrying) if on_the_ladder(facts, accepted) => Outcome::Waiting,
        _ => Outcome::Lost,
    }
}

fn on_the_ladder(facts: &Facts<'_>, accepted: &Accepted) -> bool {
    let mut moved = facts.history.moved.iter();
    moved.any(|m| m.id == Some(accepted.id) && matches!(m.on, On::Retry(_)))
}

/// An accepted notification in words.
pub(super) fn named(facts: &Facts<'_>, accepted: &Accepted) -> String {
    let (tenant, channel) = &facts.history.places[accepted.place];
    let Accepted {
        kind, number, id, at, ..
    } = accepted;
    let after = at.saturating_sub(facts.history.load.start) as f64 / 1e3;
    format!("{kind} {number} of {tenant}/{channel} ({id}, accepted after {after:.1} s)")
}

/// R5.
pub(super) fn hops(facts: &Facts<'_>) -> Rule {
    let moved = facts.history.moved.iter().filter(|m| m.on != On::Deliveries);
    let most = moved.clone().map(|m| m.hops).max().unwrap_or(0);
    let over = moved.filter(|m| m.hops > facts.limits.hops);
    let over = over
        .map(|m| format!("{:?} after {} hops", m.id, m.hops))
        .collect();
    let figure = format!("at most {most} of {}", facts.limits.hops);
    rule("R5", "hops ≤ cap", figure, over)
}

/// R6, as it shows afterwards: no notification in one attempt and delivery both dispatched and dead.
pub(super) fn one_outcome(facts: &Facts<'_>) -> Rule {
    let mut both = Vec::new();
    for (id, dead) in &facts.dead {
        let dispatched: HashSet<_> = facts
            .dispatched
            .get(id)
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .iter()
            .map(|m| (m.redrive, m.attempt))
            .collect();
        let unacknowledged =
            |m: &&&crate::chaos::history::Moved| m.code.as_deref() == Some("not_acknowledged");
        let twice = dead.iter().filter(|m| !unacknowledged(m));
        if let Some(m) = twice
            .into_iter()
            .find(|m| dispatched.contains(&(m.redrive, m.attempt)))
        {
            both.push(format!(
                "{id} in attempt {}: dispatched and dead ({:?})",
                m.attempt, m.code
            ));
        }
    }
    let figure = format!("{} with two outcomes", both.len());
    rule("R6", "one outcome of each processing", figure, both)
}

/// R9.
pub(super) fn nothing_paused(facts: &Facts<'_>) -> Rule {
    let (figure, broken) = match facts.history.lag {
        Some(0) => ("everything handled in the end".to_owned(), vec![]),
        Some(lag) => (format!("{lag} records unhandled"), vec![format!("lag {lag}")]),
        None => ("the lag could not be read".to_owned(), vec!["no lag".to_owned()]),
    };
    rule("R9", "no partition stays paused", figure, broken)
}

/// What GET says is what was seen.
pub(super) fn states_agree(facts: &Facts<'_>) -> Rule {
    let mut wrong = Vec::new();
    for accepted in &facts.history.accepted {
        let state = facts.history.states.get(&accepted.id).copied();
        let before = [Status::Accepted, Status::Stored, Status::Scheduled];
        let behind = state.is_none_or(|state| before.contains(&state));
        if behind && facts.delivered(accepted.id) {
            wrong.push(format!("{} was seen and is {state:?}", named(facts, accepted)));
        }
        let stays_dead = matches!(accepted.kind, Kind::TooLarge | Kind::Unacked);
        if stays_dead && facts.dead.contains_key(&accepted.id) && state != Some(Status::Dead) {
            wrong.push(format!(
                "{} is a dead letter and {state:?}",
                named(facts, accepted)
            ));
        }
    }
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for status in facts.history.states.values() {
        *count.entry(status.as_str()).or_default() += 1;
    }
    let count: Vec<_> = count.iter().map(|(status, n)| format!("{n} {status}")).collect();
    let figure = count.join(", ");
    rule("states", "every id is readable, and not behind", figure, wrong)
}

/// SIGTERM ends a process with 0.
pub(super) fn good_ends(facts: &Facts<'_>) -> Rule {
    let bad = facts.history.bad_ends.clone();
    let figure = format!("{} bad ends", bad.len());
    rule("ends", "what is asked to end says 0", figure, bad)
}
