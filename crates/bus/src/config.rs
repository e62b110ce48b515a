//! Configuration: everything about Kafka that a deployment or a test may want to change.
//!
//! In: a bootstrap address. Out: settings with defaults that were measured. Always: every bound of a queue
//! and every deadline of this crate stands here.

use std::time::Duration;

use carillon_schemas::topics::Topics;

use crate::Security;

/// How this process talks to Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusConfig {
    /// `host:port`, several separated by commas.
    pub bootstrap: String,
    /// Encryption and the user: none.
    pub security: Security,
    /// Name of this client in the broker's logs and in this process's metrics.
    pub client_id: String,
    /// Names of the topics.
    pub topics: Topics,
    /// How long a record may wait for others to share its request. Zero sends at once; records that arrive
    /// while a request is being written still share the next one.
    pub linger: Duration,
    /// How long a record may take from `send` to its acknowledgement, retries included: 15 s.
    pub message_timeout: Duration,
    /// How long one request to a broker may take: 10 s. Also the deadline of [`crate::Admin`]'s operations.
    pub request_deadline: Duration,
    /// After how long without a heartbeat a group gives a member up: 10 s.
    pub session_timeout: Duration,
    /// Most records in the producer that are not yet acknowledged; above it `send` says `QueueFull`.
    pub producer_records: u32,
    /// Most bytes of such records, in KiB; above it `send` says `QueueFull`.
    pub producer_kib: u32,
    /// How long a broker may hold a fetch that finds nothing. A partition that is added to a reader waits
    /// for the fetch that is under way, so this bounds how late it starts: 100 ms.
    pub fetch_wait: Duration,
    /// How often librdkafka's statistics become metrics: 5 s.
    pub statistics_every: Duration,
    /// A promise that consumers break on purpose: none.
    #[cfg(feature = "seeded-bugs")]
    pub seeded_bug: Option<crate::seeded::SeededBug>,
}

impl BusConfig {
    /// The defaults, towards these brokers.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            security: Security::default(),
            client_id: "carillon".to_owned(),
            topics: Topics::new("carillon."),
            linger: Duration::ZERO,
            message_timeout: Duration::from_secs(15),
            request_deadline: Duration::from_secs(10),
            session_timeout: Duration::from_secs(10),
            producer_records: 50_000,
            producer_kib: 64 * 1024,
            fetch_wait: Duration::from_millis(100),
            statistics_every: Duration::from_secs(5),
            #[cfg(feature = "seeded-bugs")]
            seeded_bug: None,
        }
    }
}

/// Where a group begins in a partition without a committed offset, and a reader whose offset is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest record.
    Earliest,
    /// Behind the newest.
    Latest,
}

/// How a member of a consumer group reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// Most records between the poll thread and the owner, counted in full batches. When it is full, the
    /// poll thread waits a moment, then pauses the partitions and goes on polling.
    pub queue: usize,
    /// Most records in one batch.
    pub batch: usize,
    /// Most records of one partition that are handed out at or above its low-water mark: what a crash can
    /// repeat. A partition at the bound is paused until half of it is free.
    pub in_flight_per_partition: usize,
    /// Most bytes of keys and values of one partition that are handed out and unfinished; one record above it may be
    /// larger. Paused and resumed as above, and resumed when half of both is free.
    pub in_flight_bytes_per_partition: usize,
    /// How long giving partitions away in a planned rebalance waits for the owner to finish what it has
    /// begun of them: 1 s. What is unfinished then is handled again by the next owner. Meanwhile the other
    /// partitions of this member stand still.
    pub hand_over: Duration,
    /// How often the low-water marks are committed.
    pub commit_every: Duration,
    /// Where to begin without a committed offset.
    pub start: StartAt,
    /// Most bytes fetched ahead, in KiB. Pausing throws them away.
    pub fetch_ahead_kib: u32,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            queue: 4096,
            batch: 512,
            in_flight_per_partition: 2000,
            in_flight_bytes_per_partition: 64 * 1024 * 1024,
            hand_over: Duration::from_secs(1),
            commit_every: Duration::from_millis(500),
            start: StartAt::Earliest,
            fetch_ahead_kib: 8 * 1024,
        }
    }
}

/// How a [`crate::Tail`] reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailOptions {
    /// Most records between the poll thread and the owner, counted in full batches. When it is full, the
    /// poll thread waits: records stay on the broker.
    pub queue: usize,
    /// Most records in one batch.
    pub batch: usize,
    /// Where to go on when an offset is gone from the topic.
    pub start: StartAt,
    /// Most bytes fetched ahead, in KiB.
    pub fetch_ahead_kib: u32,
}

impl Default for TailOptions {
    fn default() -> Self {
        Self {
            queue: 8192,
            batch: 512,
            start: StartAt::Earliest,
            fetch_ahead_kib: 16 * 1024,
        }
    }
}
