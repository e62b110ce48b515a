//! The rules R1 to R14, as far as they can be seen from outside.
//!
//! In: facts of a history. Out: a figure and a verdict for each. Always: a rule that this run could not exercise is not
//! called held.

mod letters;
mod outcomes;
mod timing;
mod views;

use super::{
    check::{Facts, Rule, Verdict},
    history::History,
};

/// Most examples of what broke a rule.
const EXAMPLES: usize = 5;

/// Every rule, in order.
pub(super) fn all(facts: &Facts<'_>) -> Vec<Rule> {
    vec![
        outcomes::accounted(facts),
        timing::not_early(facts),
        timing::not_late(facts),
        elsewhere("R4", "committed ≤ lowest unfinished", "tests of `bus::offsets`"),
        outcomes::hops(facts),
        outcomes::one_outcome(facts),
        elsewhere("R7", "poison delays its partition < 100 ms", "tests of `router`"),
        letters::nothing_unasked(facts),
        outcomes::nothing_paused(facts),
        letters::redriven_once(facts),
        views::own_tenant(facts),
        elsewhere("R12", "a noisy tenant is not felt", "`make bench`"),
        elsewhere("R13", "equal members, equal maps", "no ring yet"),
        views::clients_see_all(facts),
        views::in_order(facts),
        views::no_silent_gap(facts),
        views::repeats_bounded(facts),
        letters::poison_kept(facts),
        letters::acknowledged(facts),
        outcomes::states_agree(facts),
        outcomes::good_ends(facts),
    ]
}

fn elsewhere(name: &'static str, says: &'static str, shown: &str) -> Rule {
    Rule {
        name,
        says,
        figure: format!("not seen from outside: {shown}"),
        verdict: Verdict::NotSeen,
        examples: Vec::new(),
    }
}

/// A rule that nothing may break.
fn rule(name: &'static str, says: &'static str, figure: String, mut broken: Vec<String>) -> Rule {
    let verdict = if broken.is_empty() {
        Verdict::Holds
    } else {
        Verdict::Broken
    };
    broken.truncate(EXAMPLES);
    Rule {
        name,
        says,
        figure,
        verdict,
        examples: broken,
    }
}

/// The same where there was nothing that could have broken it.
fn rule_of(n: usize, name: &'static str, says: &'static str, figure: String, broken: Vec<String>) -> Rule {
    let rule = rule(name, says, figure, broken);
    let idle = n == 0 && rule.verdict == Verdict::Holds;
    Rule {
        verdict: if idle { Verdict::NotSeen } else { rule.verdict },
        ..rule
    }
}

/// Figures of the whole run.
pub(super) fn figures(facts: &Facts<'_>) -> Vec<(&'static str, String)> {
    let history = facts.history;
    let seconds = history.load.end.saturating_sub(history.load.start) / 1_000;
    let alone = history.strikes.iter().filter(|s| s.alone).count();
    let sum = |of: fn(&super::history::On) -> bool| history.moved.iter().filter(|m| of(&m.on)).count();
    let mut kinds = std::collections::BTreeMap::<_, usize>::new();
    for accepted in &history.accepted {
        *kinds.entry(accepted.kind).or_default() += 1;
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
    let rate = history.accepted.len() as u64 / seconds.max(1);
    vec![
        ("load", format!("{seconds} s, {rate} accepted a second")),
        (
            "faults",
            format!("{}, {alone} of them alone", history.strikes.len()),
        ),
        ("attempts", history.attempts.to_string()),
        (
            "accepted",
            format!("{} ({})", history.accepted.len(), kinds.join(", ")),
        ),
        ("frames", history.sightings.len().to_string()),
        (
            "records",
            format!(
                "{} deliveries, {} retries, {} overflow, {} redrive, {} dead letters",
                sum(|on| *on == super::history::On::Deliveries),
                sum(|on| matches!(on, super::history::On::Retry(_))),
                sum(|on| *on == super::history::On::Overflow),
                sum(|on| *on == super::history::On::Redrive),
                sum(|on| *on == super::history::On::DeadLetters),
            ),
        ),
        ("machine", machine(history)),
    ]
}

/// Whether long times may be the machine's.
fn machine(history: &History) -> String {
    let waited = history.pressure.map_or(String::new(), |percent| {
        format!("; something waited for a processor {percent} % of the time")
    });
    let starved = history.starved;
    format!("the harness was without a processor for {starved} ms at most{waited}")
}
