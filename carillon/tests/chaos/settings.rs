//! What whoever runs these tests may choose.
//!
//! In: `SEED`, `MINUTES`, `KINDS`, `FAULTS`, `RECOVERY_PERCENT`. Out: settings. Always: what is not said has a default
//! that is printed; a word that means nothing is an error.

use std::{fmt, str::FromStr, time::Duration};

use carillon_chassis::clock::Clock;
use carillon_schemas::topics::Tier;
use carillon_testkit::chaos::{Fault, Ground, Kind, Limits, Plan, Report, Round, seeded::SeededBug};

/// Minutes of load without `MINUTES`.
const MINUTES: f64 = 10.0;
/// Kinds without `KINDS`: all.
const KINDS: &str = "priority,user,ttl,collapse,acked,unacked,scheduled,too_large,poison";
/// The ladder of every run: short, so that what nobody acknowledges is a dead letter before the run ends.
const LADDER: [&str; 4] = ["1s", "2s", "4s", "8s"];
/// In `KINDS`, the hostile producer; all others are kinds of notifications.
const POISON: &str = "poison";
/// Rounds among which each fault of `FAULTS` must be.
const LOOKED_AT: usize = 1_000;

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

    /// The rounds that strike with nothing but the faults that were asked for.
    pub(crate) fn plan(&self) -> impl Iterator<Item = Round> + use<> {
        let plan = Plan::new(self.seed, self.ground);
        for words in &self.faults {
            let mut faults = plan.clone().take(LOOKED_AT).flat_map(|round| round.faults);
            let comes = faults.any(|fault| is(words, &fault));
            assert!(
                comes,
                "FAULTS: no fault is `{}` on {:?}",
                words.join(" "),
                self.ground
            );
        }
        let asked = self.faults.clone();
        plan.filter(move |round| {
            let is_asked = |fault: &Fault| asked.iter().any(|words| is(words, fault));
            asked.is_empty() || round.faults.iter().all(is_asked)
        })
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
    let words = |fault: &str| fault.split_whitespace().map(str::to_owned).collect();
    faults.map(words).collect()
}

/// Whether these words say what a fault is.
fn is(words: &[String], fault: &Fault) -> bool {
    let says = [fault.action.as_str(), fault.target.kind()];
    words.iter().all(|word| says.contains(&word.as_str()))
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
