//! One measured figure: how much, beside what, and whether that is enough.
//!
//! In: a value, a bare loop's value where there is one, a target in words. Out: a ratio, and met or missed.
//! Always: a target is compared with the ratio where there is a bare loop, with the value where there is none.

use serde::{Deserialize, Serialize};

/// A bound, read from words such as `<= 5` or `>= 0.8 x`. What follows the number is for people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gate {
    /// The figure must not be greater.
    AtMost(f64),
    /// The figure must not be smaller.
    AtLeast(f64),
}

impl Gate {
    /// The bound that a target's words begin with; `None` when they begin with none.
    pub fn parse(words: &str) -> Option<Self> {
        let (gate, rest): (fn(f64) -> Self, _) = match words.split_at_checked(2)? {
            ("<=", rest) => (Self::AtMost, rest),
            (">=", rest) => (Self::AtLeast, rest),
            _ => return None,
        };
        let number = rest.split_whitespace().next()?.trim_end_matches(',');
        number.parse().ok().map(gate)
    }

    /// Whether a figure keeps within the bound. What is no number never does.
    pub fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(bound) => figure <= bound,
            Self::AtLeast(bound) => figure >= bound,
        }
    }
}

/// One measured figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
    /// The same of the bare loop in the same run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bare: Option<f64>,
    /// Value : bare loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// The target, in words, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether the target was met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
}

impl Figure {
    /// A figure, its ratio to the bare loop's, and whether that keeps the target.
    pub fn new(what: &str, value: f64, unit: &str, bare: Option<f64>, target: Option<&str>) -> Self {
        let ratio = bare.map(|bare| value / bare);
        let gate = target.and_then(Gate::parse);
        Self {
            what: what.to_owned(),
            value,
            unit: unit.to_owned(),
            bare,
            ratio,
            target: target.map(str::to_owned),
            met: gate.map(|gate| gate.holds(ratio.unwrap_or(value))),
        }
    }

    /// `ok`, `missed`, or nothing where there is no target.
    pub fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "ok",
            Some(false) => "missed",
            None => "",
        }
    }
}

/// Two digits behind the point for small figures, whole numbers for large ones.
pub(super) fn shown(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_read_from_the_words_of_a_target() {
        assert_eq!(Gate::parse("<= 5"), Some(Gate::AtMost(5.0)));
        assert_eq!(Gate::parse(">= 0.8 x bare"), Some(Gate::AtLeast(0.8)));
        assert_eq!(Gate::parse("<= 6, later"), Some(Gate::AtMost(6.0)));
        assert_eq!(Gate::parse(">=10100"), Some(Gate::AtLeast(10100.0)));
        for words in ["", "<", "5", "as few as can be", "<= few", "≤ 5"] {
            assert_eq!(Gate::parse(words), None, "{words}");
        }
    }

    #[test]
    fn a_gate_includes_its_bound() {
        assert!(Gate::AtMost(5.0).holds(5.0) && !Gate::AtMost(5.0).holds(5.001));
        assert!(Gate::AtLeast(5.0).holds(5.0) && !Gate::AtLeast(5.0).holds(4.999));
    }

    #[test]
    fn what_is_no_number_misses_its_target() {
        let figure = Figure::new("p99", 1.0, "ms", Some(f64::NAN), Some("<= 1.25"));
        assert_eq!(figure.verdict(), "missed");
        assert!(!Gate::AtLeast(0.0).holds(f64::NAN));
    }

    #[test]
    fn a_target_is_held_against_the_ratio_where_there_is_a_bare_loop() {
        let beside = Figure::new("p99", 30.0, "ms", Some(20.0), Some("<= 1.5"));
        assert_eq!((beside.ratio, beside.verdict()), (Some(1.5), "ok"));
        let alone = Figure::new("p99", 30.0, "ms", None, Some("<= 1.5"));
        assert_eq!((alone.ratio, alone.verdict()), (None, "missed"));
        assert_eq!(Figure::new("max", 30.0, "ms", None, None).verdict(), "");
    }

    #[test]
    fn small_figures_have_digits_and_large_ones_have_none() {
        assert_eq!(shown(0.0), "0.00");
        assert_eq!(shown(99.99), "99.99");
        assert_eq!(shown(12_345.6), "12346");
    }
}
