//! The server under measurement: started by its own command line, ended with the run.
//!
//! In: the path of the binary. Out: addresses, a token and what the processes use.
//! Always: everything stands in a temporary directory and on loopback ports; nothing survives the value; a
//! run during which a process ended is a failed run.

mod child;
mod cluster;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use child::Process;
use tokio::{process::Command, time::Instant};

use crate::{http::Connection, process::ThreadTimes};
pub use cluster::{Role, SHARDS};

/// The tenant of every measurement that has only one.
pub const TENANT: &str = "bench";

/// A tenant and what lets it in.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub name: String,
    /// A token that may publish and listen.
    pub token: String,
}

const START: Duration = Duration::from_secs(60);
/// How long a command that prepares something may take.
const COMMAND: Duration = Duration::from_secs(90);

/// A running server: one process or several.
pub struct Server {
    /// `host:port` of ingest.
    pub ingest: String,
    /// `host:port` of fanout.
    pub fanout: String,
    /// A token of [`TENANT`] that may publish and listen.
    pub token: String,
    processes: Vec<Process>,
    variables: Vec<(String, String)>,
    dir: tempfile::TempDir,
    binary: PathBuf,
    secret: PathBuf,
}

impl Server {
    /// Everything in one process: `carillon up`.
    ///
    /// # Errors
    /// When it does not become ready within a minute.
    pub async fn up(binary: &Path, fsync: &str) -> Result<Self> {
        let mut server = Self::prepare(binary).await?;
        let (listen, kafka) = (free_port()?, free_port()?);
        let data = server.dir.path().join("data").display().to_string();
        let secret = server.secret.display().to_string();
        let place = ["--listen", &listen, "--kafka-listen", &kafka];
        let rest = [
            "--data-dir",
            &data,
            "--fsync",
            fsync,
            "--auth-hs256-secret-file",
            &secret,
        ];
        server.start("up", true, &[&["up"], &place[..], &rest[..]].concat())?;
        server.ingest.clone_from(&listen);
        server.fanout.clone_from(&listen);
        server.wait_ready(&listen).await?;
        Ok(server)
    }

    /// The embedded broker in one process and ingest in another, whose use is measured.
    ///
    /// # Errors
    /// When they do not become ready within a minute.
    pub async fn ingest_alone(binary: &Path, fsync: &str) -> Result<Self> {
        let mut server = Self::prepare(binary).await?;
        let (listen, admin, kafka) = (free_port()?, free_port()?, free_port()?);
        let data = server.dir.path().join("data").display().to_string();
        let broker = ["broker", "--kafka-listen", &kafka, "--data-dir", &data];
        server.start("broker", false, &[&broker[..], &["--fsync", fsync]].concat())?;
        wait_port(&kafka).await?;
        server
            .run(&["topics", "apply", "--kafka", &kafka, "--replication", "1"])
            .await?;
        let store = format!("sqlite:{}", server.dir.path().join("store.db").display());
        let secret = server.secret.display().to_string();
        let arguments = [
            "ingest",
            "--listen",
            &listen,
            "--admin-listen",
            &admin,
            "--kafka",
            &kafka,
            "--store",
            &store,
            "--auth-hs256-secret-file",
            &secret,
        ];
        server.start("ingest", true, &arguments)?;
        server.ingest = listen;
        server.wait_ready(&admin).await?;
        Ok(server)
    }

    /// Processor time that the measured processes have used so far.
    pub fn cpu(&self) -> Duration {
        self.measured().map(Process::cpu).sum()
    }

    /// The same for each, by its name.
    pub fn cpu_each(&self) -> Vec<(String, Duration)> {
        self.measured().map(|p| (p.name.clone(), p.cpu())).collect()
    }

    /// The same for each of their threads.
    pub fn thread_times(&self) -> ThreadTimes {
        self.measured().flat_map(Process::thread_times).collect()
    }

    /// Resident memory of the measured processes in bytes.
    pub fn resident(&self) -> u64 {
        self.measured().map(Process::resident).sum()
    }

    fn measured(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|p| p.measured)
    }

    /// Hands a run's outcome on, when the run was good and every process is still there.
    ///
    /// # Errors
    /// When the run failed or a process ended; with the end of every log.
    pub fn judge<T>(&mut self, outcome: Result<T>) -> Result<T> {
        let ended = self.ended()?;
        let failure = match outcome {
            Ok(outcome) if ended.is_empty() => return Ok(outcome),
            Ok(_) => anyhow!("a process ended during the run"),
            Err(error) => error,
        };
        Err(failure.context(format!("{}{}", self.logs(), ended.join("\n"))))
    }

    fn ended(&mut self) -> Result<Vec<String>> {
        let mut ended = Vec::new();
        for process in &mut self.processes {
            if let Some(status) = process.ended()? {
                ended.push(format!("{} ended with {status}", process.name));
            }
        }
        Ok(ended)
    }

    async fn prepare(binary: &Path) -> Result<Self> {
        let binary = std::fs::canonicalize(binary)
            .with_context(|| format!("{} is not built: run `make release`", binary.display()))?;
        let dir = tempfile::Builder::new().prefix("carillon-bench-").tempdir()?;
        let secret = dir.path().join("secret");
        // Only signs tokens of a server on loopback that ends with this process.
        std::fs::write(&secret, "a secret of the benchmark that nothing else uses")?;
        let mut server = Self {
            ingest: String::new(),
            fanout: String::new(),
            token: String::new(),
            processes: Vec::new(),
            variables: Vec::new(),
            dir,
            binary,
            secret,
        };
        server.token = server.mint(TENANT).await?;
        Ok(server)
    }

    async fn mint(&self, tenant: &str) -> Result<String> {
        let secret = self.secret.display().to_string();
        let of = ["--tenant", tenant, "--sub", "loadtest"];
        let mint = [&["token", "mint", "--hs256-secret-file", &secret], &of[..]].concat();
        Ok(self.run(&mint).await?.trim().to_owned())
    }

    /// So many tenants with their tokens.
    ///
    /// # Errors
    /// When a token cannot be made.
    pub async fn tenants(&self, count: u32) -> Result<Vec<Tenant>> {
        let mut tenants = Vec::new();
        for number in 0..count {
            let name = format!("{TENANT}-{number}");
            let token = self.mint(&name).await?;
            tenants.push(Tenant { name, token });
        }
        Ok(tenants)
    }

    /// A setting that every process gets through its environment.
    fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = child::command(&self.binary);
        command.args(arguments).current_dir(self.dir.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let what = format!("carillon {}", arguments.join(" "));
        let output = tokio::time::timeout(COMMAND, self.command(arguments).output())
            .await
            .with_context(|| format!("{what}: not within {COMMAND:?}"))??;
        if !output.status.success() {
            bail!("{what}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn start(&mut self, name: &str, measured: bool, arguments: &[&str]) -> Result<()> {
        let mut command = self.command(arguments);
        let process = Process::start(name, measured, &mut command, self.dir.path())?;
        self.processes.push(process);
        Ok(())
    }

    async fn wait_ready(&mut self, host: &str) -> Result<()> {
        let deadline = Instant::now() + START;
        let request = format!("GET /ready HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut last = "nobody listens".to_owned();
        while Instant::now() < deadline {
            if let Ok(mut connection) = Connection::open(host).await
                && let Ok(status) = connection.send(request.as_bytes()).await
            {
                if status == 200 {
                    return Ok(());
                }
                last = String::from_utf8_lossy(connection.body()).into_owned();
            }
            if !self.ended()?.is_empty() {
                return self.judge(Err(anyhow!("a process ended before it was ready")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.judge(Err(anyhow!("not ready within {START:?}: {last}")))
    }

    fn logs(&self) -> String {
        self.processes
            .iter()
            .map(|process| process.log() + "\n")
            .collect()
    }
}

async fn wait_port(host: &str) -> Result<()> {
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        if tokio::net::TcpStream::connect(host).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("nobody listens on {host}")
}

fn free_port() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
