//! Metrics: what this crate counts, and librdkafka's statistics as gauges.
//!
//! In: events and statistics. Out: metrics under `carillon_bus_`, by client and kind of client.
//! Always: labels come from closed sets: clients by their configured id, topics that were named, the rest
//! as `other`.

use carillon_chassis::metrics::{Counter, CounterVec, IntGaugeVec, Metrics};

/// The metrics of every client of this crate that shares a registry.
#[derive(Clone)]
pub(crate) struct BusMetrics {
    /// Records acknowledged, failed by class.
    pub(crate) sends: CounterVec,
    /// Records handed to their owners.
    pub(crate) received: CounterVec,
    /// Records that the owner before had finished and that were not handed out again.
    pub(crate) skipped: CounterVec,
    /// Commits by result.
    pub(crate) commits: CounterVec,
    /// Assignments and revocations.
    pub(crate) rebalances: CounterVec,
    /// How often partitions were paused, by reason.
    pub(crate) pauses: CounterVec,
    /// Errors that librdkafka told, by whether they were fatal.
    pub(crate) errors: CounterVec,
    /// Headers that could not be read.
    pub(crate) unreadable_headers: Counter,
    /// Whether a broker is reachable.
    pub(crate) connected: IntGaugeVec,
    /// Threads that did not end in time and were left behind.
    pub(crate) abandoned: Counter,
    /// Records in librdkafka's producer queue.
    pub(crate) queue_records: IntGaugeVec,
    /// Bytes in it.
    pub(crate) queue_bytes: IntGaugeVec,
    /// Round trip of requests, in microseconds, by quantile.
    pub(crate) rtt: IntGaugeVec,
    /// Bytes sent and received.
    pub(crate) bytes: CounterVec,
    /// Records behind the end of the topic.
    pub(crate) lag: IntGaugeVec,
}

const CLIENT: [&str; 2] = ["client", "kind"];

impl BusMetrics {
    /// Registers them, or finds those that are registered.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counters = |name, help, more: &[&str]| metrics.counter_vec(name, help, &[&CLIENT, more].concat());
        let gauges = |name, help, more: &[&str]| metrics.gauge_vec(name, help, &[&CLIENT, more].concat());
        Self {
            sends: counters("carillon_bus_sends_total", "records by outcome", &["outcome"]),
            received: counters(
                "carillon_bus_received_total",
                "records handed to their owners",
                &[],
            ),
            skipped: counters(
                "carillon_bus_skipped_total",
                "records that the owner before had finished",
                &[],
            ),
            commits: counters(
                "carillon_bus_commits_total",
                "offset commits by result",
                &["result"],
            ),
            rebalances: counters(
                "carillon_bus_rebalances_total",
                "changes of an assignment",
                &["change"],
            ),
            pauses: counters(
                "carillon_bus_pauses_total",
                "pauses of partitions by reason",
                &["reason"],
            ),
            errors: counters(
                "carillon_bus_errors_total",
                "errors told by librdkafka",
                &["class"],
            ),
            unreadable_headers: metrics.counter(
                "carillon_bus_unreadable_headers_total",
                "headers left out because their name is not UTF-8",
            ),
            connected: gauges("carillon_bus_connected", "1 when a broker is reachable", &[]),
            abandoned: metrics.counter(
                "carillon_bus_abandoned_threads_total",
                "threads that did not end in time and were left behind",
            ),
            queue_records: gauges(
                "carillon_bus_queue_records",
                "records in the producer's queue",
                &[],
            ),
            queue_bytes: gauges("carillon_bus_queue_bytes", "bytes in the producer's queue", &[]),
            rtt: gauges(
                "carillon_bus_rtt_microseconds",
                "round trip of requests",
                &["quantile"],
            ),
            bytes: counters("carillon_bus_bytes_total", "bytes to and from brokers", &["way"]),
            lag: gauges(
                "carillon_bus_lag_records",
                "records behind the end of the topic",
                &["topic"],
            ),
        }
    }
}
