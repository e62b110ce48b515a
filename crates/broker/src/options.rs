//! Options: everything an operator or a test may choose.
//!
//! In: a data directory. Out: settings with defaults that are safe on one machine. Always: every bound of the
//! broker stands here, and says what happens when it is reached.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use carillon_chassis::clock::Clock;

/// How a broker is to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything is kept. Created when missing; one process at a time.
    pub data_dir: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What clients are told to connect to; the bound address when `None`.
    pub advertised: Option<(String, u16)>,
    /// When writes reach the disk.
    pub fsync: Fsync,
    /// Partitions of a topic that is created without saying how many.
    pub default_partitions: i32,
    /// Whether asking for an unknown topic creates it.
    pub auto_create_topics: bool,
    /// Whether an address that other machines can reach may be bound. There is no authentication.
    pub allow_remote: bool,
    /// A segment is sealed at the first flush after it has grown to this many bytes.
    pub segment_bytes: u64,
    /// How long the first members of an empty group wait for others to join with them.
    pub group_join_delay: Duration,
    /// Where the time of day comes from.
    pub clock: Clock,
    /// Bounds.
    pub limits: Limits,
}

/// When writes reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before they are acknowledged; one fsync serves all that wait.
    Each,
    /// This often, in the background: a machine that loses power loses up to this much.
    Interval(Duration),
}

/// Bounds on memory, files and peers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; one more is closed at once.
    pub connections: usize,
    /// Bytes of one produce request; a larger one closes the connection.
    pub produce_bytes: usize,
    /// Bytes of any other request; a larger one closes the connection.
    pub request_bytes: usize,
    /// Requests of one connection that wait for their answer; then the connection is not read.
    pub pipelined: usize,
    /// Bytes of records in one fetch answer, whatever the client asks.
    pub fetch_bytes: usize,
    /// Bytes of fetch answers being built or written, over all connections; then fetches wait.
    pub answer_memory: usize,
    /// How long a peer may take to accept an answer before its connection is closed.
    pub write_timeout: Duration,
    /// Segment files kept open; the one opened first is closed for the next.
    pub open_files: usize,
    /// Bytes of fresh records kept in memory for tailing consumers, over all partitions.
    pub tail_cache: usize,
    /// Idempotent producers remembered per partition; the one silent for longest is forgotten.
    pub producers: usize,
    /// Partitions over all topics; creating more is refused.
    pub partitions: usize,
    /// Consumer groups; joining another is refused.
    pub groups: usize,
    /// Bytes of metadata in one committed offset (Kafka's default, `offset.metadata.max.bytes`).
    pub commit_metadata: usize,
    /// Log bytes a crash may leave to be read again at the next start, per partition.
    pub checkpoint_bytes: u64,
    /// Threads that sync files side by side. At 1,000 records/s over 64 partitions 4 gave a lower median
    /// than 8 or 16 (each sync waits for a larger commit of the file system's journal); 16 sync four times as
    /// many files a second when all partitions write at once.
    pub flush_threads: usize,
}

impl Options {
    /// Defaults: loopback, a free port, every write synced before it is acknowledged.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertised: None,
            fsync: Fsync::Each,
            default_partitions: 1,
            auto_create_topics: false,
            allow_remote: false,
            segment_bytes: 64 * 1024 * 1024,
            group_join_delay: Duration::from_millis(20),
            clock: Clock::system(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            produce_bytes: 32 * 1024 * 1024,
            request_bytes: 4 * 1024 * 1024,
            pipelined: 32,
            fetch_bytes: 16 * 1024 * 1024,
            answer_memory: 128 * 1024 * 1024,
            write_timeout: Duration::from_secs(30),
            open_files: 1024,
            tail_cache: 32 * 1024 * 1024,
            producers: 4096,
            partitions: 100_000,
            groups: 10_000,
            commit_metadata: 4096,
            checkpoint_bytes: 8 * 1024 * 1024,
            flush_threads: 4,
        }
    }
}
