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

/// What is accepted so much before or after something is due counts as of the same moment, in milliseconds.
const AROUND: u64 = 500;
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

/// R3: late is what comes later after its moment than every plain notification that was accepted around that moment. How
/// long those take is the machine's and another measurement's.
pub(super) fn not_late(facts: &Facts<'_>) -> Rule {
    let (dues, plain) = (dues(facts), Plain::of(facts));
    let calm = dues.iter().filter(|d| is_calm(facts, d.due, d.came));
    let calm: Vec<_> = calm.map(|d| (d, plain.beyond(facts, d))).collect();
    let late = percentile_99(calm.iter().map(|(d, _)| d.late()));
    let beyond = percentile_99(calm.iter().map(|(_, beyond)| *beyond));
    let (undisturbed, disturbed) = (calm.len(), dues.len() - calm.len());
    let figure = format!(
        "p99 {beyond} ms beyond plain ones of that moment, {late} ms in all; {undisturbed} undisturbed, {disturbed} disturbed"
    );
    let most = facts.limits.late * facts.limits.recovery_percent / 100;
    let mut broken = Vec::new();
    if beyond > most {
        broken.push(format!(
            "p99 {beyond} ms beyond plain ones, at most {most} ms allowed"
        ));
        broken.extend(latest(facts, calm));
    }
    rule_of(
        undisturbed,
        "R3",
        "late by ≤ 1 s at p99, beyond what is new",
        figure,
        broken,
    )
}

/// Those that came latest beyond plain ones, each with how much, so that it can be seen what came before them.
fn latest(facts: &Facts<'_>, mut calm: Vec<(&Due, u64)>) -> Vec<String> {
    calm.sort_by_key(|(_, beyond)| std::cmp::Reverse(*beyond));
    let told = calm.iter().take(TOLD).map(|(d, beyond)| {
        let at = d.due.saturating_sub(facts.history.load.start) as f64 / 1e3;
        let late = d.late();
        format!(
            "{}, due after {at:.1} s, {late} ms late, {beyond} ms beyond plain ones",
            d.what
        )
    });
    told.collect()
}

/// Plain notifications that were seen: when each was accepted, and when it was seen, in order.
struct Plain(Vec<(u64, u64)>);

impl Plain {
    fn of(facts: &Facts<'_>) -> Self {
        let first = first_seen(facts);
        let plain = facts.history.accepted.iter().filter(|a| a.kind == Kind::Plain);
        let mut all: Vec<_> = plain.filter_map(|a| Some((a.at, *first.get(&a.id)?))).collect();
        all.sort_unstable();
        Self(all)
    }

    /// How much later something came than every one of them that was accepted around its moment. One that a fault kept
    /// back later on took at least the time until then.
    fn beyond(&self, facts: &Facts<'_>, due: &Due) -> u64 {
        let from = self.0.partition_point(|(at, _)| at + AROUND < due.due);
        let around = self.0[from..]
            .iter()
            .take_while(|(at, _)| *at <= due.due + AROUND);
        let undisturbed = |(at, seen): &(u64, u64)| {
            let mut until = [*seen, due.came.min(*seen)].into_iter();
            until
                .find(|until| is_calm(facts, *at, *until))
                .map(|until| until.saturating_sub(*at))
        };
        due.late()
            .saturating_sub(around.filter_map(undisturbed).max().unwrap_or(0))
    }
}

impl Due {
    fn late(&self) -> u64 {
        self.came.saturating_sub(self.due)
    }
}

/// Whether servers were warm and no fault lay between.
fn is_calm(facts: &Facts<'_>, due: u64, came: u64) -> bool {
    due >= facts.history.load.start + WARM_UP && !facts.disturbed(due, came.max(due))
}

fn percentile_99(all: impl Iterator<Item = u64>) -> u64 {
    let mut sorted: Vec<_> = all.collect();
    sorted.sort_unstable();
    let at = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0)
}
