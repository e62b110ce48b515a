//! Configuration: the bounds of a fanout node.
//!
//! In: what the deployment sets. Out: checked figures with their units.
//! Always: every queue and every wait of this room has its bound here.

use std::{num::NonZeroU32, time::Duration};

use carillon_schemas::limits;

use crate::FanoutError;

/// How a fanout node behaves.
#[derive(Debug, Clone)]
pub struct FanoutConfig {
    /// Stable name of this process: stands in receipts and so in time lines. Two processes of one name would
    /// take their counts for the same.
    pub node: String,
    /// Generation of the deliveries topic; stands in every cursor. It grows when the number of shards changes.
    pub generation: u16,
    /// Origins (`https://app.example.com`) that browsers may connect from; `*` is any. A request without an
    /// `Origin` header is not from a browser and passes; the origin `null` never does.
    pub origins: Vec<String>,
    /// Whether a token may stand in the query (`?access_token=`), where proxies write it into their logs.
    pub query_tokens: bool,
    /// Handshakes per second and at once; more are answered with 503.
    pub handshakes_per_second: NonZeroU32,
    /// Most sessions of this node: below the limit of open files.
    pub sessions: usize,
    /// Most sessions of one tenant.
    pub sessions_per_tenant: usize,
    /// How long a handshake may take after its request was read, waiting for the deliveries included.
    pub handshake_timeout: Duration,
    /// Bounds of one session.
    pub session: SessionLimits,
    /// Bounds of the receipts.
    pub receipts: ReceiptLimits,
    /// Most range reads of the deliveries topic at once, each by one thread of the bus.
    pub resume_threads: usize,
    /// Largest page of such a read, in bytes.
    pub resume_page_bytes: usize,
    /// Most catch-ups that hold a page at once; further ones wait their turn.
    pub resume_concurrency: usize,
    /// How long a resume may wait for Kafka or the store, or for a cursor that lies ahead of this node,
    /// before the client is told to ask again.
    pub resume_deadline: Duration,
    /// Records of a shard that the store may be behind the topic when `last` is answered.
    pub recent_window: i64,
    /// Longest wait between attempts to reach Kafka.
    pub retry_cap: Duration,
    /// How long a drain may take from the close frames to the last socket.
    pub drain_timeout: Duration,
}

/// Bounds of the receipts.
#[derive(Debug, Clone, Copy)]
pub struct ReceiptLimits {
    /// Most deliveries, acknowledgements and expiries that are remembered at once, some 300 bytes each. What comes
    /// when that is full is counted as lost: its count stays too small, its acknowledgement is refused.
    pub entries: usize,
    /// How long a fact waits for others to share its record.
    pub every: Duration,
    /// How long after a count was told a greater one is told.
    pub again: Duration,
    /// How long after its last change a count is remembered. Whoever takes the delivery later is counted anew.
    pub kept: Duration,
}

/// Bounds of one session.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Notifications in the send queue; one more is dropped and told by `lagged`.
    pub queue_frames: usize,
    /// Bytes of notifications in the send queue; more is dropped and told by `lagged`.
    pub queue_bytes: usize,
    /// Answers in the send queue beside the notifications; one more closes the session (4003).
    pub queue_answers: usize,
    /// Live frames that wait behind one stream's catch-up; one more is read from the topic instead.
    pub pending_frames: usize,
    /// Bytes of such frames.
    pub pending_bytes: usize,
    /// Largest inbound frame and message in bytes.
    pub inbound_bytes: usize,
    /// Inbound frames per second, control frames included; more closes the session (4005).
    pub inbound_per_second: u32,
    /// Inbound frames at once.
    pub inbound_burst: u32,
    /// Malformed messages that are answered; one more closes the session (4502).
    pub malformed: u32,
    /// Most subscriptions.
    pub subscriptions: usize,
    /// How often a ping is sent.
    pub ping_every: Duration,
    /// How long its pong may take (4004).
    pub pong_timeout: Duration,
    /// How long a socket may take not one byte while there is something to send (4003).
    pub write_timeout: Duration,
    /// How long a closing handshake may take.
    pub close_timeout: Duration,
}

impl Default for FanoutConfig {
    fn default() -> Self {
        Self {
            node: "carillon".to_owned(),
            generation: 1,
            origins: Vec::new(),
            query_tokens: true,
            handshakes_per_second: NonZeroU32::MIN.saturating_add(9_999),
            sessions: 19_000,
            sessions_per_tenant: 20_000,
            handshake_timeout: Duration::from_secs(5),
            session: SessionLimits::default(),
            receipts: ReceiptLimits::default(),
            resume_threads: 2,
            resume_page_bytes: 256 * 1024,
            resume_concurrency: 32,
            resume_deadline: Duration::from_secs(5),
            recent_window: 2_048,
            retry_cap: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for ReceiptLimits {
    fn default() -> Self {
        Self {
            entries: 65_536,
            every: Duration::from_millis(100),
            again: Duration::from_secs(1),
            kept: Duration::from_secs(3),
        }
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            queue_frames: 256,
            queue_bytes: 1024 * 1024,
            queue_answers: 256,
            pending_frames: 64,
            pending_bytes: 256 * 1024,
            inbound_bytes: limits::FRAME_IN_BYTES,
            inbound_per_second: 10,
            inbound_burst: 20,
            malformed: 10,
            subscriptions: limits::SUBSCRIPTIONS_PER_SOCKET,
            ping_every: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
        }
    }
}

impl FanoutConfig {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// [`FanoutError::Config`] names the first setting that cannot work.
    pub(crate) fn check(&self) -> Result<(), FanoutError> {
        let session = &self.session;
        let positive = [
            ("sessions", self.sessions),
            ("sessions_per_tenant", self.sessions_per_tenant),
            ("resume_threads", self.resume_threads),
            ("resume_page_bytes", self.resume_page_bytes),
            ("resume_concurrency", self.resume_concurrency),
            ("receipts.entries", self.receipts.entries),
            ("session.queue_frames", session.queue_frames),
            ("session.queue_bytes", session.queue_bytes),
            ("session.queue_answers", session.queue_answers),
            ("session.pending_frames", session.pending_frames),
            ("session.pending_bytes", session.pending_bytes),
            ("session.inbound_per_second", session.inbound_per_second as usize),
            ("session.inbound_burst", session.inbound_burst as usize),
        ];
        match positive.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(FanoutError::Config(format!("{name} must be at least 1"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_of_zero_is_refused_by_its_name() {
        assert!(FanoutConfig::default().check().is_ok());
        let config = FanoutConfig {
            sessions: 0,
            ..FanoutConfig::default()
        };
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "configuration: sessions must be at least 1"
        );
    }
}
