//! A role as a process: the binary as an operator starts it, found by its log, killed at will.
//!
//! In: a binary, its arguments, a directory. Out: addresses, readiness, the log, the end.
//! Always: it keeps its addresses over restarts; it dies with the value, and with the test's process, even when that
//! is killed; when a test fails, the end of its log is printed.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use carillon_fixtures::{Guarded, Signal, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

use super::STOP;

/// How much of a log a failing test prints.
const TAIL: usize = 40;
/// How long an admin port may take for an answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Conditions that are unmet, with their reasons.
pub type Unmet = Vec<(String, String)>;

/// A role that runs in a process of its own.
pub struct RoleProcess {
    /// What its log is called.
    pub name: String,
    binary: PathBuf,
    dir: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Guarded>,
    /// Where the log of this start begins.
    begun: usize,
    listen: Option<String>,
    admin: String,
}

impl RoleProcess {
    /// Starts `carillon ARGUMENTS`, a role whose ports are 0, and waits until its first line says where it is.
    ///
    /// # Panics
    /// When the binary cannot be started or ends at once; with its log.
    pub async fn start(binary: &Path, dir: &Path, name: &str, arguments: &[&str]) -> Self {
        Self::start_with(binary, dir, name, arguments, &[]).await
    }

    /// The same with variables of its environment.
    ///
    /// # Panics
    /// As [`RoleProcess::start`].
    pub async fn start_with(
        binary: &Path,
        dir: &Path,
        name: &str,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Self {
        let mut process = Self {
            name: name.to_owned(),
            binary: binary.to_owned(),
            dir: dir.to_owned(),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            environment: environment.to_vec(),
            child: None,
            begun: 0,
            listen: None,
            admin: String::new(),
        };
        process.spawn(&[]);
        process.find().await;
        process
    }

    /// Starts it again on the addresses that it had.
    ///
    /// # Panics
    /// As [`RoleProcess::start`]; when it runs.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let mut addresses = vec!["--admin-listen".to_owned(), self.admin.clone()];
        if let Some(listen) = &self.listen {
            addresses.extend(["--listen".to_owned(), listen.clone()]);
        }
        self.spawn(&addresses);
        self.find().await;
    }

    #[allow(clippy::expect_used, reason = "a test cannot go on without it")]
    fn spawn(&mut self, addresses: &[String]) {
        let log = File::options().create(true).append(true).open(self.log_file());
        let log = log.expect("a file for the log");
        self.begun = self.log().len();
        let mut command = command(&self.binary, &self.dir);
        command
            .args(&self.arguments)
            .args(addresses)
            .envs(self.environment.iter().cloned());
        // When we are killed, the roles that share the directory end too, and nobody is left to want it.
        let child = Guarded::start(&command, log, Some(&self.dir));
        self.child = Some(child.expect("a watchdog starts"));
    }

    /// Reads the addresses from the line with which every role begins.
    async fn find(&mut self) {
        let deadline = Instant::now() + STOP;
        loop {
            let log = self.log();
            let first = log[self.begun..].lines().find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                (line["message"] == "role starts").then_some(line)
            });
            let text = |line: &serde_json::Value, key: &str| line[key].as_str().map(ToOwned::to_owned);
            if let Some(line) = first {
                self.listen = text(&line, "listen");
                self.admin = text(&line, "admin").unwrap_or_default();
                return;
            }
            let ended = self.ended();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{} did not begin, {ended:?}:\n{log}",
                self.name
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Its end, if it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.ended()
    }

    /// `http://host:port` of what it serves; none for a role that serves nobody.
    pub fn url(&self) -> Option<String> {
        self.listen.as_ref().map(|listen| format!("http://{listen}"))
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Guarded::id)
    }

    /// Everything that it wrote, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }

    /// What its readiness misses; `None` when its admin port does not answer.
    pub async fn unmet(&self) -> Option<Unmet> {
        let (status, body) = self.get("/ready").await?;
        if status == 200 {
            return Some(Vec::new());
        }
        let body: serde_json::Value = serde_json::from_str(&body).ok()?;
        let unmet = body["unmet"].as_array()?.iter();
        let text = |condition: &serde_json::Value, key: &str| condition[key].as_str().map(ToOwned::to_owned);
        unmet
            .map(|c| text(c, "condition").zip(text(c, "reason")))
            .collect()
    }

    /// GET on its admin port: status and body.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        tokio::time::timeout(ANSWER, get(&self.admin, path)).await.ok()?
    }

    /// Waits until it takes work.
    ///
    /// # Panics
    /// When that takes too long, with what it misses.
    pub async fn ready(&self) {
        let unmet = || self.unmet();
        eventually(&format!("{} ready", self.name), unmet, |unmet| {
            unmet.as_ref().is_some_and(Vec::is_empty)
        })
        .await;
    }

    /// SIGKILL, as a machine that dies, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(child) = self.child.take() {
            child.kill();
        }
    }

    /// SIGTERM, and waits for the graceful end; gives the exit code.
    ///
    /// # Panics
    /// When it does not end within [`STOP`]; with its log.
    pub async fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::Terminate);
        let deadline = Instant::now() + STOP;
        loop {
            if let Some(status) = self.ended() {
                self.child = None;
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "{} does not stop:\n{}",
                self.name,
                self.log()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it was killed or terminated.
    #[allow(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn signal(&self, signal: Signal) {
        self.child.as_ref().expect("a process that runs").signal(signal);
    }
}

impl Drop for RoleProcess {
    #[allow(clippy::print_stderr, reason = "what a failing test needs to be understood")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            eprintln!("--- log of {} (its end)\n{}", self.name, tail.join("\n"));
        }
    }
}

/// A command of the binary in a directory, without the variables of whoever runs the tests.
pub(crate) fn command(binary: &Path, dir: &Path) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(dir).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARILLON_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a command prints on its standard output. It must end well; otherwise the test ends with its arguments and
/// what it said.
#[allow(clippy::expect_used, reason = "a test cannot go on without it")]
pub(crate) fn printed(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let error = String::from_utf8_lossy(&output.stderr);
    let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
    assert!(
        output.status.success(),
        "carillon {}: {error}",
        arguments.join(" ")
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
