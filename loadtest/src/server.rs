//! The server under measurement: started by its own command line, ended with the run.
//!
//! In: the path of the binary. Out: addresses, a token and the process ids whose use is measured.
//! Always: everything stands in a temporary directory and on loopback ports; nothing survives the value.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    process::{Child, Command},
    time::Instant,
};

use crate::http::Connection;

/// The tenant of every measurement.
pub const TENANT: &str = "bench";

const START: Duration = Duration::from_secs(60);

/// A running server.
pub struct Server {
    /// `host:port` of ingest.
    pub ingest: String,
    /// `host:port` of fanout.
    pub fanout: String,
    /// A token of [`TENANT`] that may publish and listen.
    pub token: String,
    /// The process whose processor time the run is charged with.
    pub pid: u32,
    children: Vec<Child>,
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
        let data = server.dir.path().join("data");
        server
            .start(&[
                "up",
                "--listen",
                &listen,
                "--kafka-listen",
                &kafka,
                "--data-dir",
                &data.display().to_string(),
                "--fsync",
                fsync,
                "--auth-hs256-secret-file",
                &server.secret.display().to_string(),
            ])
            .await?;
        server.ingest.clone_from(&listen);
        server.fanout = listen;
        server.wait_ready(&server.ingest.clone()).await?;
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
        server
            .start(&[
                "broker",
                "--kafka-listen",
                &kafka,
                "--data-dir",
                &data,
                "--fsync",
                fsync,
            ])
            .await?;
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
        server.start(&arguments).await?;
        server.ingest = listen;
        server.wait_ready(&admin).await?;
        Ok(server)
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
            pid: 0,
            children: Vec::new(),
            dir,
            binary,
            secret,
        };
        let secret = server.secret.display().to_string();
        let mint = [
            "token",
            "mint",
            "--hs256-secret-file",
            &secret,
            "--tenant",
            TENANT,
            "--sub",
            "loadtest",
        ];
        server.token = server.run(&mint).await?.trim().to_owned();
        Ok(server)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().await?;
        if !output.status.success() {
            bail!(
                "carillon {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    async fn start(&mut self, arguments: &[&str]) -> Result<()> {
        let log = std::fs::File::create(self.dir.path().join(format!("{}.log", arguments[0])))?;
        let child = self
            .command(arguments)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.pid = child.id().context("the server ended at once")?;
        self.children.push(child);
        Ok(())
    }

    async fn wait_ready(&mut self, host: &str) -> Result<()> {
        let deadline = Instant::now() + START;
        let request = format!("GET /ready HTTP/1.1\r\nHost: {host}\r\n\r\n");
        while Instant::now() < deadline {
            if let Ok(mut connection) = Connection::open(host).await
                && connection
                    .send(request.as_bytes())
                    .await
                    .is_ok_and(|status| status == 200)
            {
                return Ok(());
            }
            if let Some(child) = self.children.last_mut()
                && let Some(status) = child.try_wait()?
            {
                bail!("the server ended with {status}: {}", self.logs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the server did not become ready: {}", self.logs())
    }

    fn logs(&self) -> String {
        let Ok(entries) = std::fs::read_dir(self.dir.path()) else {
            return String::new();
        };
        let logs = entries
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|x| x == "log"));
        logs.filter_map(|p| std::fs::read_to_string(p).ok()).collect()
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
