//! The figures of this role.
//!
//! In: what happened. Out: `carillon_fanout_*`, and the earlier system's names where its dashboards use them.
//! Always: labels come from closed sets; no tenant, channel or token is a label.

use carillon_chassis::metrics::{Counter, CounterVec, Histogram, IntGauge, LATENCY_BUCKETS, Metrics};

/// The metrics, registered once.
pub(crate) struct RoleMetrics {
    /// Sessions now.
    pub(crate) sessions: IntGauge,
    /// The same under the earlier name.
    pub(crate) legacy_sessions: IntGauge,
    /// Handshakes by outcome.
    pub(crate) handshakes: CounterVec,
    /// Sessions that ended, by close code; `peer` when the client closed.
    pub(crate) closed: CounterVec,
    /// Records read from the deliveries topic.
    pub(crate) records: Counter,
    /// Records that reach nobody, by reason.
    pub(crate) refused: CounterVec,
    /// Notifications put into send queues.
    pub(crate) queued: Counter,
    /// Notifications dropped because a send queue was full.
    pub(crate) dropped: Counter,
    /// Notifications whose bytes a socket took, under the earlier name.
    pub(crate) delivered: Counter,
    /// Frames of any kind whose bytes a socket took.
    pub(crate) frames: Counter,
    /// Receipts that Kafka has.
    pub(crate) receipts: Counter,
    /// Sessions, acknowledgements and expiries that no receipt tells.
    pub(crate) receipts_lost: CounterVec,
    /// Deliveries left out, by reason.
    pub(crate) left_out: CounterVec,
    /// Catch-ups by outcome.
    pub(crate) catch_ups: CounterVec,
    /// Reads of the deliveries topic for catch-ups.
    pub(crate) range_reads: Counter,
    /// From the record's timestamp to the session's writer taking the frame.
    pub(crate) dispatch_to_socket: Histogram,
}

impl RoleMetrics {
    /// Registers them.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counter =
            |name: &str, help: &str| metrics.counter(&format!("carillon_fanout_{name}_total"), help);
        let by = |name: &str, help: &str, label: &str| {
            metrics.counter_vec(&format!("carillon_fanout_{name}_total"), help, &[label])
        };
        Self {
            sessions: metrics.gauge("carillon_fanout_sessions", "Connected sessions."),
            legacy_sessions: metrics.gauge("websocket_active_sessions", "Connected sessions (earlier name)."),
            handshakes: by("handshakes", "WebSocket handshakes.", "outcome"),
            closed: by("sessions_closed", "Sessions that ended.", "code"),
            records: counter("records", "Records read from the deliveries topic."),
            refused: by("records_refused", "Records that reach nobody.", "reason"),
            queued: counter("notifications_queued", "Notifications put into send queues."),
            dropped: counter(
                "notifications_dropped",
                "Notifications dropped at a full send queue.",
            ),
            delivered: metrics.counter(
                "notifications_delivered_total",
                "Notifications whose bytes a socket took (earlier name).",
            ),
            frames: counter("frames", "Frames of any kind whose bytes a socket took."),
            receipts: counter("receipts", "Receipts that Kafka has acknowledged."),
            receipts_lost: by(
                "receipts_lost",
                "Sessions, acknowledgements and expiries that no receipt tells.",
                "seen",
            ),
            left_out: by(
                "notifications_left_out",
                "Deliveries that were expired, or collapsed since they were dispatched.",
                "reason",
            ),
            catch_ups: by("catch_ups", "Streams read from history.", "outcome"),
            range_reads: counter("range_reads", "Reads of the deliveries topic for catch-ups."),
            dispatch_to_socket: metrics.histogram(
                "carillon_fanout_dispatch_to_socket_seconds",
                "From the delivery record's timestamp to the socket.",
                &LATENCY_BUCKETS,
            ),
        }
    }
}
