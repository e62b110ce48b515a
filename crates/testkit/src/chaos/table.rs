//! The final table, for people.
//!
//! In: a report. Out: text. Always: what is broken stands out, with examples.

use std::fmt;

use super::check::{Report, Verdict};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, figure) in &self.figures {
            writeln!(f, "{name:<16}{figure}")?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:<22}{:>6}{:>10}{:>10}{:>12}{:>14}{:>10}",
            "recovery, alone", "n", "median", "longest", "without 202", "without frame", "target"
        )?;
        for r in &self.recovered {
            let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1e3);
            writeln!(
                f,
                "{:<22}{:>6}{:>10}{:>10}{:>12}{:>14}{:>10}  {}",
                format!("{} {}", r.action.as_str(), r.kind),
                r.alone,
                seconds(r.median),
                seconds(r.longest),
                seconds(r.accepted),
                seconds(r.frames),
                seconds(r.target),
                if r.held { "ok" } else { "TOO SLOW" }
            )?;
        }
        writeln!(f)?;
        for rule in &self.rules {
            let verdict = match rule.verdict {
                Verdict::Holds => "ok",
                Verdict::Broken => "BROKEN",
                Verdict::NotSeen => "-",
            };
            writeln!(
                f,
                "{:<8}{:<8}{:<50}{}",
                rule.name, verdict, rule.says, rule.figure
            )?;
            for example in &rule.examples {
                writeln!(f, "{:16}{example}", "")?;
            }
        }
        Ok(())
    }
}
