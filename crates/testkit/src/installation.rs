//! A real installation: the binary as its users start it, on a directory of its own, and killed at will.
//!
//! In: the path of the binary. Out: a process that serves, its addresses, its output.
//! Always: ports and directory stay the same over restarts; the process dies with the value.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use carillon_fixtures::{Guarded, Signal};
use tokio::time::Instant;

use crate::stack::{command, printed};

/// How long an end may take before a test gives up.
const END: Duration = Duration::from_secs(60);
/// How long a start may take before a test gives up.
const START: Duration = Duration::from_secs(30);

/// A directory and ports for `carillon up`.
pub struct Installation {
    binary: PathBuf,
    dir: tempfile::TempDir,
    listen: String,
    kafka: String,
    options: Vec<String>,
}

/// A running `carillon up`.
pub struct Running {
    child: Guarded,
}

impl Installation {
    /// An installation that has not been started yet.
    ///
    /// # Panics
    /// When there is no temporary directory or no free port.
    #[allow(clippy::expect_used, reason = "a test cannot go on without them")]
    pub fn new(binary: impl AsRef<Path>, options: &[&str]) -> Self {
        let port = || {
            TcpListener::bind("127.0.0.1:0")
                .and_then(|l| l.local_addr())
                .expect("a free port")
        };
        let dir = tempfile::Builder::new()
            .prefix("carillon-")
            .tempdir()
            .expect("a temporary directory");
        Self {
            binary: binary.as_ref().to_owned(),
            dir,
            listen: port().to_string(),
            kafka: port().to_string(),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
        }
    }

    /// `http://host:port` of everything that it serves.
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// `host:port` of the Kafka protocol.
    pub fn kafka(&self) -> &str {
        &self.kafka
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Writes its `carillon.toml`, for starts from now on.
    ///
    /// # Panics
    /// When it cannot be written.
    #[allow(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn configure(&self, text: &str) {
        std::fs::write(self.dir.path().join("carillon.toml"), text).expect("a file");
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What its processes have written so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("output")).unwrap_or_default()
    }

    /// Starts it; does not wait.
    ///
    /// # Panics
    /// When the binary cannot be started.
    #[allow(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn start(&self) -> Running {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("output"))
            .expect("a file for the output");
        let mut command = command(&self.binary, self.dir.path());
        command
            .args([
                "up",
                "--listen",
                &self.listen,
                "--kafka-listen",
                &self.kafka,
                "--data-dir",
            ])
            .arg(self.data_dir())
            .args(&self.options);
        // Ours to remove while we live; the watchdog's when we are killed.
        let child = Guarded::start(&command, log, Some(self.dir.path()));
        Running {
            child: child.expect("a watchdog starts"),
        }
    }

    /// Runs another command of the binary in the installation's directory; gives its standard output.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        printed(command(&self.binary, self.dir.path()).args(arguments))
    }

    /// Waits until `/ready` answers 200.
    ///
    /// # Panics
    /// After half a minute, with the process's output.
    pub async fn ready(&self) {
        let deadline = Instant::now() + START;
        while !self.answers_ready().await {
            assert!(
                Instant::now() < deadline,
                "not ready within {START:?}:\n{}",
                self.output()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn answers_ready(&self) -> bool {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let Ok(mut stream) = tokio::net::TcpStream::connect(&self.listen).await else {
            return false;
        };
        let request = format!(
            "GET /ready HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.listen
        );
        let mut answer = Vec::new();
        stream.write_all(request.as_bytes()).await.is_ok()
            && stream.read_to_end(&mut answer).await.is_ok()
            && answer.starts_with(b"HTTP/1.1 200")
    }
}

impl Running {
    /// SIGKILL, as a power cut would have it, and waits for the end.
    pub fn kill(mut self) {
        self.child.end();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// SIGTERM, and waits for the graceful end; gives the exit code. Blocks its thread meanwhile.
    ///
    /// # Panics
    /// When the process does not end within a minute.
    pub fn terminate(mut self) -> Option<i32> {
        self.child.signal(Signal::Terminate);
        let begun = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.ended() {
                return status.code();
            }
            assert!(begun.elapsed() < END, "it does not end within {END:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Told before its watchdog is let go, which would take the directory with it.
        self.child.end();
    }
}
