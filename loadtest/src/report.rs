//! Reports: what was measured, where, and with which settings.
//!
//! In: figures. Out: a table on standard output and `loadtest/baselines/<name>.json`.
//! Always: a figure stands beside its unit, its target if it has one, the machine and the commit.

use std::{collections::BTreeMap, io::Write, path::PathBuf, process::Command};

use serde::Serialize;

/// One measured figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
    /// The target, in words, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Where and of what a report was made.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many of them.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The kernel's release.
    pub kernel: String,
}

/// A report in the making.
#[derive(Debug, Clone, Serialize)]
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
            commit: commit(),
            machine: machine(),
            settings: BTreeMap::new(),
            figures: Vec::new(),
        }
    }

    /// Notes a setting of the run.
    pub fn setting(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.settings.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds a figure.
    pub fn figure(&mut self, what: &str, value: f64, unit: &str, target: Option<&str>) -> &mut Self {
        let target = target.map(str::to_owned);
        self.figures.push(Figure {
            what: what.to_owned(),
            value,
            unit: unit.to_owned(),
            target,
        });
        self
    }

    /// Prints the table and writes the baseline file.
    ///
    /// # Errors
    /// When either cannot be written.
    pub fn finish(&self) -> std::io::Result<()> {
        std::io::stdout().lock().write_all(self.table().as_bytes())?;
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baselines");
        std::fs::create_dir_all(&dir)?;
        let json = serde_json::to_string_pretty(self).map_err(std::io::Error::other)?;
        std::fs::write(dir.join(format!("{}.json", self.name)), json + "\n")
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
            let target = figure
                .target
                .as_ref()
                .map(|t| format!("   (target {t})"))
                .unwrap_or_default();
            out += &format!(
                "  {:<52} {:>14} {}{target}\n",
                figure.what,
                shown(figure.value),
                figure.unit
            );
        }
        out
    }
}

/// Three significant digits for small figures, whole numbers for large ones.
fn shown(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

fn commit() -> String {
    let git = |args: &[&str]| {
        let out = Command::new("git")
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .ok()?;
        out.status
            .success()
            .then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    // Baselines are written by the runs themselves: only other changes make a tree dirty.
    let changes = git(&[
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ".",
        ":!baselines",
    ]);
    if changes.is_some_and(|c| !c.is_empty()) {
        format!("{commit}+changes")
    } else {
        commit
    }
}

fn machine() -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|l| l.starts_with(name));
        line.and_then(|l| l.split(':').nth(1))
            .map(|v| v.trim().to_owned())
    };
    let kib = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|v| v.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()));
    Machine {
        processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory_mib: kib.unwrap_or(0) / 1024,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
    }
}
