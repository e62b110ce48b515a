//! What listeners saw: R11, R14, order, gaps, repeats.
//!
//! In: facts. Out: rules. Always: clients that remove repeats must see none; the others may, within the bound.

use std::collections::{HashMap, HashSet};

use super::{outcomes::named, rule, rule_of};
use crate::chaos::{
    Action, Kind,
    check::{Facts, Rule},
    history::Note,
    kinds::TTL_SECONDS,
};

/// What a frame of [`Kind::Ttl`] may be late by on its way from the last look at its age, in milliseconds.
const LAST_MILE: u64 = 2_000;

/// R11: no listener sees what is not its own, no record changes its tenant.
pub(super) fn own_tenant(facts: &Facts<'_>) -> Rule {
    let foreign = facts
        .history
        .notes
        .iter()
        .filter_map(|(_, listener, note)| match note {
            Note::Foreign(what) => Some(format!("{}: {what}", facts.history.listeners[*listener].tenant)),
            _ => None,
        });
    let mut broken: Vec<_> = foreign.collect();
    let frames = broken.len();
    for moved in facts.history.moved.iter().filter(|m| m.poison.is_none()) {
        let accepted = moved.id.and_then(|id| facts.accepted.get(&id));
        let Some(accepted) = accepted else { continue };
        let tenant = &facts.history.places[accepted.place].0;
        let other = |t: &Option<_>| t.as_ref().is_some_and(|t| t != tenant);
        if other(&moved.tenant) || other(&moved.written_for) {
            broken.push(format!("{} on {:?}", named(facts, accepted), moved.on));
        }
    }
    let figure = format!("{frames} foreign frames, {} records", broken.len() - frames);
    rule("R11", "nothing of another tenant", figure, broken)
}

/// R14: every listener saw what was dispatched, once after removal of repeats, or was told.
pub(super) fn clients_see_all(facts: &Facts<'_>) -> Rule {
    let mut broken = Vec::new();
    let (mut missed, mut told) = (0, 0);
    for (n, listener) in facts.history.listeners.iter().enumerate() {
        let announced: HashSet<Option<usize>> = facts
            .history
            .notes
            .iter()
            .filter(|(_, l, _)| *l == n)
            .filter_map(|(_, _, note)| match note {
                Note::Unrecovered(place) => Some(*place),
                _ => None,
            })
            .collect();
        let own = |place: usize| facts.history.places[place].0 == listener.tenant;
        let due = facts
            .history
            .accepted
            .iter()
            .filter(|a| own(a.place) && a.kind.is_for_all());
        for accepted in due.filter(|a| facts.delivered(a.id) && !facts.seen[n].contains(&a.id)) {
            let place = (accepted.kind != Kind::User).then_some(accepted.place);
            if announced.contains(&place) {
                told += 1;
            } else {
                missed += 1;
                broken.push(format!("listener {n} missed {}", named(facts, accepted)));
            }
        }
    }
    let mut seen = HashSet::new();
    let sightings = facts.history.sightings.iter();
    let strict = sightings.filter(|s| facts.history.listeners[s.listener].removes_repeats);
    let twice = strict.filter(|s| !seen.insert((s.listener, s.id, s.delivery)));
    let twice: Vec<_> = twice
        .map(|s| format!("listener {} saw {} twice", s.listener, s.id))
        .collect();
    let doubled = twice.len();
    broken.extend(twice);
    broken.extend(facts.history.notes.iter().filter_map(|(_, n, note)| match note {
        Note::Ended(why) => Some(format!("listener {n} ended: {why}")),
        _ => None,
    }));
    let stale = stale(facts);
    broken.extend(stale.iter().cloned());
    let figure = format!(
        "{missed} missed, {told} told, {doubled} doubled after dedupe, {} after their end",
        stale.len()
    );
    rule("R14", "a client sees each once, or is told", figure, broken)
}

/// Frames of what had expired before, where no fault lies between.
fn stale(facts: &Facts<'_>) -> Vec<String> {
    let mut stale = Vec::new();
    for sighting in &facts.history.sightings {
        let accepted = facts.accepted.get(&sighting.id);
        let Some(accepted) = accepted.filter(|a| a.kind == Kind::Ttl) else {
            continue;
        };
        let end = accepted.at + u64::from(TTL_SECONDS) * 1_000;
        if sighting.at > end + LAST_MILE && !facts.disturbed(end, sighting.at) {
            let late = sighting.at - end;
            stale.push(format!(
                "{} was seen {late} ms after its end",
                named(facts, accepted)
            ));
        }
    }
    stale
}

/// Order in a channel among first attempts.
pub(super) fn in_order(facts: &Facts<'_>) -> Rule {
    let mut last: HashMap<(usize, usize, bool), u64> = HashMap::new();
    let mut seen = HashSet::new();
    let mut inverted = Vec::new();
    let mut looked_at = 0;
    for s in facts
        .history
        .sightings
        .iter()
        .filter(|s| s.attempt == 1 && s.delivery == 1)
    {
        if !s.kind.keeps_order() || !seen.insert((s.listener, s.id)) {
            continue;
        }
        looked_at += 1;
        let before = last.insert((s.listener, s.place, s.user), s.number);
        if let Some(before) = before.filter(|before| *before >= s.number) {
            let (tenant, channel) = &facts.history.places[s.place];
            let after = s.at.saturating_sub(facts.history.load.start) as f64 / 1e3;
            let (l, n) = (s.listener, s.number);
            inverted.push(format!(
                "listener {l}: {n} of {tenant}/{channel} behind {before}, after {after:.1} s"
            ));
        }
    }
    let figure = format!("{} of {looked_at} inverted", inverted.len());
    rule_of(
        looked_at,
        "order",
        "first attempts in channel order",
        figure,
        inverted,
    )
}

/// Gaps that nothing announced.
pub(super) fn no_silent_gap(facts: &Facts<'_>) -> Rule {
    let (mut gaps, mut lagged, mut unrecovered) = (Vec::new(), 0, 0);
    for (_, listener, note) in &facts.history.notes {
        match note {
            Note::Break(what) => gaps.push(format!("listener {listener}: {what}")),
            Note::Lagged => lagged += 1,
            Note::Unrecovered(_) => unrecovered += 1,
            Note::Foreign(_) | Note::Ended(_) => {}
        }
    }
    let figure = format!(
        "{} silent; {lagged} lagged, {unrecovered} unrecovered",
        gaps.len()
    );
    rule("gaps", "`prev` is the place before, or it was told", figure, gaps)
}

/// Repeats of the log, against what was in flight at crashes.
pub(super) fn repeats_bounded(facts: &Facts<'_>) -> Rule {
    let crashes = facts
        .history
        .strikes
        .iter()
        .filter(|s| s.fault.action != Action::Restart)
        .count();
    let bound = crashes as u64 * facts.limits.in_flight;
    let mut written = HashSet::new();
    let records = facts.dispatched.values().flatten();
    let repeated = records.filter(|m| !written.insert((m.id, m.delivery))).count() as u64;
    let mut seen = HashSet::new();
    let raw = facts.history.sightings.iter();
    let raw = raw.filter(|s| !facts.history.listeners[s.listener].removes_repeats);
    let raw = raw
        .filter(|s| !seen.insert((s.listener, s.id, s.delivery)))
        .count() as u64;
    let figure = format!("{repeated} in the log, {raw} on raw sockets; bound {bound}");
    let most = repeated.max(raw);
    let over = if most > bound {
        vec![format!("{most} repeats, {bound} allowed")]
    } else {
        Vec::new()
    };
    rule("repeats", "≤ in-flight cap × crashes", figure, over)
}
