//! A process under measurement: started with a log of its own, ended with its value.
//!
//! In: a program, arguments, variables. Out: its processor time, its memory, its log.
//! Always: it does not outlive this process, even when this one is killed.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::process::{Child, Command};

use crate::process;

/// How much of a log is shown when a run has failed.
const SHOWN_LINES: usize = 40;

/// A running process.
pub(super) struct Process {
    /// What it is called in reports and logs.
    pub(super) name: String,
    /// Whether the run is charged with its use.
    pub(super) measured: bool,
    pid: u32,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command; its output goes to `<dir>/<name>.log`.
    pub(super) fn start(name: &str, measured: bool, command: &mut Command, dir: &Path) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = std::fs::File::create(&log)?;
        let child = command
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            measured,
            pid: child.id().with_context(|| format!("{name} ended at once"))?,
            child,
            log,
        })
    }

    /// Processor time that it has used so far.
    pub(super) fn cpu(&self) -> Duration {
        process::cpu_time(self.pid)
    }

    /// The same of each of its threads, under the process's name.
    pub(super) fn thread_times(&self) -> impl Iterator<Item = (String, Duration)> {
        let threads = process::thread_times(self.pid).into_iter();
        threads.map(|(thread, time)| (format!("{}, {thread}", self.name), time))
    }

    /// Resident memory in bytes.
    pub(super) fn resident(&self) -> u64 {
        process::resident_bytes(self.pid)
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The end of its log, under its name.
    pub(super) fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!("── {}\n{}", self.name, last_lines(&text, SHOWN_LINES))
    }
}

/// A command without this process's `CARILLON_` variables, which would be settings to it, and which the
/// kernel ends when this process ends (util-linux's `setpriv`, where it is installed).
pub(super) fn command(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    let mut command = if setpriv.exists() {
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARILLON_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines[from..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_log_is_shown() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a\n", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }

    #[tokio::test]
    async fn a_process_that_ended_has_a_status_and_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut failing = command(Path::new("sh"));
        failing.args(["-c", "echo no such topic; exit 3"]);
        let mut process = Process::start("router", true, &mut failing, dir.path()).unwrap();
        let status = process.child.wait().await.unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(process.ended().unwrap().is_some());
        assert_eq!(process.log(), "── router\nno such topic");
    }
}
