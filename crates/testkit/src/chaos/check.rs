//! The checker: a history held against the rules.
//!
//! In: a history, limits. Out: every rule with its figure and its verdict, and recovery times. Always: pure; what cannot
//! be seen from outside says so and where it is shown instead; a rule that is broken names examples.

use std::collections::{HashMap, HashSet};

use carillon_schemas::NotificationId;

use super::{
    history::{Accepted, History, Moved, On},
    plan::Action,
    recovery::{self, recoveries},
    rules,
};

/// What the name of a channel begins with whose notifications are all too large for it.
pub const LIMITED: &str = "narrow";

/// The bounds that figures are held against.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Notifications that one crash may repeat.
    pub in_flight: u64,
    /// The most hops.
    pub hops: u32,
    /// Lateness at p99, in milliseconds.
    pub late: u64,
    /// The percentage of its target that a recovery may take: over 100 for machines that are busy otherwise.
    pub recovery_percent: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 2_000,
            hops: 32,
            late: 1_000,
            recovery_percent: 100,
        }
    }
}

/// What is said of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It held.
    Holds,
    /// It did not.
    Broken,
    /// This run could not show it.
    NotSeen,
}

/// A rule with its figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// R1 to R14 of the invariants, or a word.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// What was found.
    pub figure: String,
    /// Whether it held.
    pub verdict: Verdict,
    /// Some of what broke it.
    pub examples: Vec<String>,
}

/// Recoveries of one kind of fault, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// What was hit.
    pub kind: &'static str,
    /// How.
    pub action: Action,
    /// How many faults of this kind stood alone.
    pub alone: usize,
    /// The median.
    pub median: u64,
    /// The longest.
    pub longest: u64,
    /// The longest without a 202.
    pub accepted: u64,
    /// The longest without a frame.
    pub frames: u64,
    /// What it is held against.
    pub target: u64,
    /// Whether it held.
    pub held: bool,
}

/// What the checker found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Figures of the whole, in words.
    pub figures: Vec<(&'static str, String)>,
    /// The rules.
    pub rules: Vec<Rule>,
    /// Recovery times.
    pub recovered: Vec<Recovered>,
}

impl Report {
    /// Whether nothing is broken.
    pub fn passed(&self) -> bool {
        self.broken().is_empty()
    }

    /// What is broken, by name.
    pub fn broken(&self) -> Vec<&'static str> {
        let rules = self.rules.iter().filter(|r| r.verdict == Verdict::Broken);
        let slow = self.recovered.iter().any(|r| !r.held).then_some("recovery");
        rules.map(|r| r.name).chain(slow).collect()
    }

    /// A rule by its name.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }
}

/// What the rules look things up in.
pub(super) struct Facts<'a> {
    pub(super) history: &'a History,
    pub(super) limits: &'a Limits,
    pub(super) accepted: HashMap<NotificationId, &'a Accepted>,
    /// What each listener saw.
    pub(super) seen: Vec<HashSet<NotificationId>>,
    /// Deliveries, by notification, in the order of the topic.
    pub(super) dispatched: HashMap<NotificationId, Vec<&'a Moved>>,
    /// Dead letters that name a notification.
    pub(super) dead: HashMap<NotificationId, Vec<&'a Moved>>,
}

impl<'a> Facts<'a> {
    fn new(history: &'a History, limits: &'a Limits) -> Self {
        let mut seen = vec![HashSet::new(); history.listeners.len()];
        for sighting in &history.sightings {
            seen[sighting.listener].insert(sighting.id);
        }
        let by_id = |on: fn(&On) -> bool| {
            let mut found: HashMap<NotificationId, Vec<&Moved>> = HashMap::new();
            for moved in history.moved.iter().filter(|m| on(&m.on)) {
                if let Some(id) = moved.id {
                    found.entry(id).or_default().push(moved);
                }
            }
            found
        };
        Self {
            history,
            limits,
            accepted: history.accepted.iter().map(|a| (a.id, a)).collect(),
            seen,
            dispatched: by_id(|on| *on == On::Deliveries),
            dead: by_id(|on| *on == On::DeadLetters),
        }
    }

    /// Whether any listener saw it.
    pub(super) fn seen_by_any(&self, id: NotificationId) -> bool {
        self.seen.iter().any(|seen| seen.contains(&id))
    }

    /// Whether it is in the log that listeners are served from.
    pub(super) fn delivered(&self, id: NotificationId) -> bool {
        self.seen_by_any(id) || self.dispatched.contains_key(&id)
    }

    /// Whether a fault, or what came of it, lies on this stretch of time.
    pub(super) fn disturbed(&self, from: u64, to: u64) -> bool {
        const AFTERMATH: u64 = 5_000;
        let touches = |s: &super::history::Strike| s.at <= to && s.over() + AFTERMATH >= from;
        self.history.strikes.iter().any(touches)
    }
}

/// Holds a history against every rule.
pub fn check(history: &History, limits: &Limits) -> Report {
    let facts = Facts::new(history, limits);
    Report {
        figures: rules::figures(&facts),
        rules: rules::all(&facts),
        recovered: recovered(history, limits),
    }
}

fn recovered(history: &History, limits: &Limits) -> Vec<Recovered> {
    let of_kind = |((kind, action), found): ((&'static str, Action), Vec<(_, recovery::Recovery)>)| {
        let mut all: Vec<u64> = found.iter().map(|(_, r)| r.longest()).collect();
        all.sort_unstable();
        let longest = all.last().copied().unwrap_or(0);
        let target = found.first().map_or(0, |(target, _)| recovery::target(*target));
        Recovered {
            kind,
            action,
            alone: all.len(),
            median: all[all.len() / 2],
            longest,
            accepted: found.iter().map(|(_, r)| r.accepted).max().unwrap_or(0),
            frames: found.iter().map(|(_, r)| r.frames).max().unwrap_or(0),
            target,
            held: longest * 100 <= target * limits.recovery_percent,
        }
    };
    recoveries(history).into_iter().map(of_kind).collect()
}

#[cfg(test)]
mod tests;
