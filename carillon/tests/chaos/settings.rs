//! What whoever runs these tests may choose.
//!
//! In: `SEED`, `MINUTES`, `KINDS`, `FAULTS`, `RECOVERY_PERCENT`. Out: settings. Always: what is not said has a default
//! that is printed; a word that means nothing is an error.

use std::{fmt, str::FromStr, time::Duration};

use carillon_chassis::clock::Clock;
use carillon_schemas::topics::Tier;
use carillon_testkit::chaos::{Ground, Kind, Limits, Report, Round, seeded::SeededBug};

/// Minutes of load without `MINUTES`.
const MINUTES: f64 = 10.0;
/// Kinds without `KINDS`: all.
const KINDS: &str = "priority,user,ttl,collapse,acked,unacked,scheduled,too_large,poison";
/// The ladder of every run: short, so that what nobody acknowledges is a dead letter before the run ends.
const LADDER: [&str; 4] = ["1s", "2s", "4s", "8s"];
/// In `KINDS`, the hostile producer; all others are kinds of notifications.
const POISON: &str = "poison";
/// What a fault in `FAULTS` consists of.
const FAULT_WORDS: [&str; 9] = [
    "kill",
    "pause",
    "restart",
    "ingest",
    "router",
    "fanout",
    "broker",
    "cassandra",
    "up",
];

/// The settings of a run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) ground: Ground,
    pub(crate) seed: u64,
    pub(crate) lasts: Duration,
    /// Kinds beside the plain one.
    pub(crate) special: Vec<Kind>,
    pub(crate) poison: bool,
    /// Faults that strike, each as its words; all where there are none.
    pub(crate) faults: Vec<Vec<String>>,
    pub(crate) limits: Limits,
    /// The bug that is switched on in every role.
    pub(crate) bug: Option<&'static SeededBug>,
}

impl Settings {
    /// From the environment.
    pub(crate) fn read(ground: Ground) -> Self {
        let kinds = variable("KINDS").unwrap_or_else(|| KINDS.to_owned());
        let kinds: Vec<&str> = kinds.split(',').filter(|kind| !kind.is_empty()).collect();
        let kind = |name: &&str| Kind::from_name(name).unwrap_or_else(|| panic!("KINDS: no kind {name}"));
        let special = kinds.iter().filter(|name| **name != POISON).map(kind);
        let mut limits = Limits::default();
        if let Some(percent) = number("RECOVERY_PERCENT") {
            limits.recovery_percent = percent;
        }
        Self {
            ground,
            seed: number("SEED").unwrap_or_else(|| Clock::system().unix_ms() % 100_000),
            lasts: Duration::from_secs_f64(number::<f64>("MINUTES").unwrap_or(MINUTES) * 60.0),
            special: special.collect(),
            poison: kinds.contains(&POISON),
            faults: faults(&variable("FAULTS").unwrap_or_default()),
            limits,
            bug: None,
        }
    }

    /// Whether a report says what it should: nothing broken, or what the seeded bug breaks.
    pub(crate) fn expect(&self, report: &Report) -> bool {
        let broken = report.broken();
        match self.bug {
            None => broken.is_empty(),
            Some(bug) => bug.breaks.iter().any(|rule| broken.contains(rule)),
        }
    }

    /// Whether a round strikes with nothing but the faults that were asked for.
    pub(crate) fn strikes(&self, round: &Round) -> bool {
        let asked = |action: &str, kind: &str| {
            let says = |words: &Vec<String>| words.iter().all(|word| word == action || word == kind);
            self.faults.is_empty() || self.faults.iter().any(says)
        };
        let mut faults = round.faults.iter();
        faults.all(|fault| asked(fault.action.as_str(), fault.target.kind()))
    }

    /// The tiers of the ladder.
    pub(crate) fn ladder() -> Vec<Tier> {
        LADDER.iter().map(|tier| tier.parse().unwrap()).collect()
    }

    /// Whether a kind of notifications is part of the load.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.special.contains(&kind)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lane, minutes) = (self.ground, self.lasts.as_secs_f64() / 60.0);
        write!(f, "SEED={} MINUTES={minutes} on {lane:?}; plain", self.seed)?;
        for kind in &self.special {
            write!(f, ", {kind}")?;
        }
        let poison = if self.poison { ", poison" } else { "" };
        f.write_str(poison)?;
        for (n, words) in self.faults.iter().enumerate() {
            let before = if n == 0 { "; only" } else { "," };
            write!(f, "{before} {}", words.join(" "))?;
        }
        self.bug
            .map_or(Ok(()), |bug| write!(f, "; seeded bug {}", bug.name))
    }
}

/// `kill broker,pause`: faults by comma, their words by space.
fn faults(text: &str) -> Vec<Vec<String>> {
    let faults = text.split(',').filter(|fault| !fault.trim().is_empty());
    let word = |word: &str| {
        assert!(
            FAULT_WORDS.contains(&word),
            "FAULTS: {word} is none of {FAULT_WORDS:?}"
        );
        word.to_owned()
    };
    faults
        .map(|fault| fault.split_whitespace().map(word).collect())
        .collect()
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    let text = variable(name)?;
    let number = text.parse().ok();
    Some(number.unwrap_or_else(|| panic!("{name}={text} is no number")))
}

#[allow(clippy::disallowed_methods, reason = "a test's own settings")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
