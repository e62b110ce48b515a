//! The summary: one table over several reports.
//!
//! In: reports. Out: a line for every figure that has a target or a bare loop: measured, bare loop, ratio,
//! target, ok or missed. Always: a report of another commit than the first one's is said to be so.

use super::{
    Report,
    figure::{Figure, shown},
};

/// Several reports as one table.
#[derive(Debug)]
pub struct Summary<'a>(pub &'a [Report]);

const HEAD: [&str; 6] = ["row", "measured", "bare loop", "ratio", "target", ""];

impl Summary<'_> {
    /// How many figures missed their target.
    pub fn missed(&self) -> usize {
        let figures = self.0.iter().flat_map(|report| &report.figures);
        figures.filter(|figure| figure.met == Some(false)).count()
    }

    /// The table, ready to print.
    pub fn table(&self) -> String {
        let lines = self.lines();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let widths: Vec<usize> = (0..HEAD.len()).map(|column| width(column).unwrap_or(0)).collect();
        let shown = |line: &[String; 6]| {
            let mut text = String::new();
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let pad = " ".repeat(width - cell.chars().count());
                // Numbers stand right, words stand left.
                text += &if (1..=3).contains(&column) {
                    format!("{pad}{cell}  ")
                } else {
                    format!("{cell}{pad}  ")
                };
            }
            format!("{}\n", text.trim_end())
        };
        let mut out = String::from("\n== summary ==\n");
        out.extend(lines.iter().map(shown));
        out + &self.last_line()
    }

    fn lines(&self) -> Vec<[String; 6]> {
        let mut lines = vec![HEAD.map(str::to_owned)];
        for report in self.0 {
            let figures = report
                .figures
                .iter()
                .filter(|f| f.target.is_some() || f.bare.is_some());
            lines.extend(figures.map(|figure| row(&report.name, figure)));
        }
        lines
    }

    fn last_line(&self) -> String {
        let targets = self
            .0
            .iter()
            .flat_map(|r| &r.figures)
            .filter(|f| f.met.is_some())
            .count();
        let mut out = format!("{} of {targets} targets met", targets - self.missed());
        let Some((first, others)) = self.0.split_first() else {
            return out + "\n";
        };
        out += &format!("; commit {}", first.commit);
        for other in others.iter().filter(|other| other.commit != first.commit) {
            out += &format!(", but {} of {}", other.name, other.commit);
        }
        out + "\n"
    }
}

fn row(report: &str, figure: &Figure) -> [String; 6] {
    let amount = |value: f64| format!("{} {}", shown(value), figure.unit);
    [
        format!("{report}: {}", figure.what),
        amount(figure.value),
        figure.bare.map(amount).unwrap_or_default(),
        figure.ratio.map(|r| format!("{r:.2}")).unwrap_or_default(),
        figure.target.clone().unwrap_or_default(),
        figure.verdict().to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, commit: &str) -> Report {
        let mut report = Report::new(name);
        commit.clone_into(&mut report.commit);
        report
    }

    #[test]
    fn a_summary_shows_what_has_a_target_or_a_bare_loop_and_counts_what_is_missed() {
        let mut one = report("ingest", "abc");
        one.figure("rate", 9_000.0, "1/s", Some(">= 10100"))
            .figure("max", 77.0, "ms", None)
            .beside("p99", 10.0, "ms", 8.0, Some("<= 1.25"));
        let reports = [one];
        let summary = Summary(&reports);
        let table = summary.table();
        assert_eq!(summary.missed(), 1);
        assert!(table.contains("ingest: rate  9000 1/s"), "{table}");
        assert!(
            table.contains("missed") && table.contains("1.25") && !table.contains("max"),
            "{table}"
        );
        assert!(table.ends_with("1 of 2 targets met; commit abc\n"), "{table}");
    }

    #[test]
    fn a_figure_of_another_commit_is_not_compared_with() {
        let mut one = report("a", "abc");
        one.figure("rate", 1.0, "1/s", None);
        assert_eq!(
            one.figure_of(&report("b", "abc"), "rate").map(|f| f.value),
            Some(1.0)
        );
        assert!(one.figure_of(&report("b", "abc"), "p99").is_none());
        assert!(one.figure_of(&report("b", "def"), "rate").is_none());
    }

    #[test]
    fn a_report_of_another_commit_is_said_to_be_so() {
        let reports = [report("a", "abc"), report("b", "abc"), report("c", "def")];
        let table = Summary(&reports).table();
        assert!(table.ends_with("commit abc, but c of def\n"), "{table}");
    }
}
