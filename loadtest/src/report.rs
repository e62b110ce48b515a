//! Reports: what was measured, where, and with which settings.
//!
//! In: figures. Out: a table on standard output and `loadtest/baselines/<name>.json`.
//! Always: a figure stands beside its unit, its bare loop and its target if it has them, the machine and the
//! commit.

mod figure;
mod origin;
mod summary;

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use serde::{Deserialize, Serialize};

use figure::shown;
pub use figure::{Figure, Gate};
pub use origin::Machine;
pub use summary::Summary;

/// A report in the making.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    name: String,
    commit: String,
    machine: Machine,
    settings: BTreeMap<String, String>,
    figures: Vec<Figure>,
}

impl Report {
    /// An empty report of a benchmark; its name is the name of its baseline file.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            commit: origin::commit(),
            machine: Machine::here(),
            settings: BTreeMap::new(),
            figures: Vec::new(),
        }
    }

    /// Notes a setting of the run.
    pub fn setting(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.settings.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds a figure. A target that begins with `<=` or `>=` and a number is compared with it.
    pub fn figure(&mut self, what: &str, value: f64, unit: &str, target: Option<&str>) -> &mut Self {
        self.figures.push(Figure::new(what, value, unit, None, target));
        self
    }

    /// Adds a figure beside the same one of a bare loop in the same run. The target is one of their ratio,
    /// such as `<= 1.25`.
    pub fn beside(
        &mut self,
        what: &str,
        value: f64,
        unit: &str,
        bare: f64,
        target: Option<&str>,
    ) -> &mut Self {
        self.figures
            .push(Figure::new(what, value, unit, Some(bare), target));
        self
    }

    /// Prints the table and writes the baseline file.
    ///
    /// # Errors
    /// When either cannot be written.
    pub fn finish(&self) -> std::io::Result<()> {
        std::io::stdout().lock().write_all(self.table().as_bytes())?;
        std::fs::create_dir_all(baselines())?;
        let json = serde_json::to_string_pretty(self).map_err(std::io::Error::other)?;
        std::fs::write(baseline(&self.name), json + "\n")
    }

    /// Reads a baseline file.
    ///
    /// # Errors
    /// When there is none of this name, or it is no report.
    pub fn read(name: &str) -> std::io::Result<Self> {
        let text = std::fs::read(baseline(name))?;
        serde_json::from_slice(&text).map_err(std::io::Error::other)
    }

    /// The figure of this name, when this report and that one are of the same commit.
    pub fn figure_of(&self, other: &Self, what: &str) -> Option<&Figure> {
        let same = self.commit == other.commit;
        self.figures.iter().find(|f| same && f.what == what)
    }

    fn table(&self) -> String {
        let Machine {
            processor,
            cores,
            memory_mib,
            kernel,
        } = &self.machine;
        let mut out = format!("\n== {} ==\n", self.name);
        out += &format!(
            "machine: {cores} x {processor}, {memory_mib} MiB, Linux {kernel}; commit {}\n",
            self.commit
        );
        let settings: Vec<String> = self.settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
        out += &format!("settings: {}\n", settings.join(" "));
        for figure in &self.figures {
            out += &line(figure);
        }
        out
    }
}

fn line(figure: &Figure) -> String {
    let beside = match (figure.bare, figure.ratio) {
        (Some(bare), Some(ratio)) => format!("   (bare {}, {ratio:.2} x)", shown(bare)),
        _ => String::new(),
    };
    let target = figure
        .target
        .as_ref()
        .map(|target| format!("   (target {target}: {})", figure.verdict()))
        .unwrap_or_default();
    format!(
        "  {:<52} {:>14} {}{beside}{target}\n",
        figure.what,
        shown(figure.value),
        figure.unit
    )
}

fn baselines() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baselines")
}

fn baseline(name: &str) -> PathBuf {
    baselines().join(format!("{name}.json"))
}
