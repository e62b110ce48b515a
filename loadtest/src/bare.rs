//! Bare loops: programs that do the least that could do the same, run beside a measurement.
//!
//! In: the path of a program. Out: what it printed, or what it used.
//! Always: a bare loop that fails or has errors fails the run; it ends in bounded time.

use std::{net::TcpListener, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::{http::Connection, place::Place, process};

/// What a bare loop may take beside its measurement: topics, a warm-up, the last acknowledgements.
const BESIDE: Duration = Duration::from_secs(60);

/// Refuses a run whose bare loop is missing before it has begun.
///
/// # Errors
/// When the program is not there.
pub fn require(program: &Path) -> Result<()> {
    ensure!(
        program.exists(),
        "{} is not built: run `make bench-cluster`",
        program.display()
    );
    Ok(())
}

/// What a bare producer or bare hops print, in one line of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Bare {
    /// Records per second.
    pub rate: f64,
    /// Latency in milliseconds.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// Records that were not acknowledged or did not arrive.
    pub errors: u64,
    /// Processor time of the loop per record in microseconds.
    pub cpu_us: f64,
}

impl Bare {
    /// Runs a bare loop at a place; `arguments` are those of its kind.
    ///
    /// # Errors
    /// When it fails, has errors, takes too long, or prints something else.
    pub async fn run(program: &Path, place: &Place, length: Duration, arguments: &[String]) -> Result<Self> {
        let name = program.display();
        let child = Command::new(program)
            .args(["--kafka", &place.kafka, "--prefix", &place.run])
            .args(["--replication", &place.replication().to_string()])
            .args(["--seconds", &length.as_secs_f64().to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(length + BESIDE, child)
            .await
            .with_context(|| format!("{name} did not end in time"))?
            .with_context(|| format!("starting {name}"))?;
        if !output.status.success() {
            bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Self::parse(&output.stdout).with_context(|| format!("what {name} printed"))
    }

    fn parse(line: &[u8]) -> Result<Self> {
        let bare: Self = serde_json::from_slice(line)?;
        ensure!(bare.errors == 0, "{} errors", bare.errors);
        Ok(bare)
    }
}

/// A handler that only parses the same JSON as ingest does.
pub struct BareHandler {
    /// `host:port` of it.
    pub listen: String,
    pid: u32,
    _child: Child,
}

impl BareHandler {
    /// Starts it.
    ///
    /// # Errors
    /// When it ends before it listens.
    pub async fn start(program: &Path) -> Result<Self> {
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut child = Command::new(program)
            .arg(&listen)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        while Connection::open(&listen).await.is_err() {
            ensure!(child.try_wait()?.is_none(), "the bare handler ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self {
            listen,
            pid: child.id().context("the bare handler ended")?,
            _child: child,
        })
    }

    /// Processor time that it has used so far.
    pub fn cpu(&self) -> Duration {
        process::cpu_time(self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_is_read_whatever_else_it_says() {
        let line = br#"{"rate":1.5,"p50_ms":2.0,"p99_ms":3.0,"max_ms":9.0,"errors":0,"cpu_us":4.0,"hops":2}"#;
        let bare = Bare::parse(line).unwrap();
        assert_eq!(
            (bare.rate, bare.p50_ms, bare.p99_ms, bare.cpu_us),
            (1.5, 2.0, 3.0, 4.0)
        );
    }

    #[test]
    fn a_bare_loop_with_errors_is_no_measure() {
        let line = br#"{"rate":1.5,"p50_ms":2.0,"p99_ms":3.0,"errors":7,"cpu_us":4.0}"#;
        assert!(Bare::parse(line).unwrap_err().to_string().contains("7 errors"));
        assert!(Bare::parse(b"no metadata").is_err());
    }
}
