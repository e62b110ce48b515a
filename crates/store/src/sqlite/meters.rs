//! What the SQLite store measures of itself.
//!
//! In: the registry. Out: handles, cheap to clone. Always: no label holds a tenant.

use carillon_chassis::metrics::{Counter, CounterVec, Histogram, IntGauge, LATENCY_BUCKETS, Metrics};

/// Rows per transaction.
const ROWS_BUCKETS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0];

#[derive(Clone)]
pub(super) struct Meters {
    pub(super) write_seconds: Histogram,
    pub(super) commit_seconds: Histogram,
    pub(super) read_seconds: Histogram,
    pub(super) group_rows: Histogram,
    pub(super) waiting: IntGauge,
    pub(super) expired: Counter,
    pub(super) panics: Counter,
    pub(super) errors: CounterVec,
}

impl Meters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let latency = |name, help| metrics.histogram(name, help, &LATENCY_BUCKETS);
        Self {
            write_seconds: latency(
                "carillon_store_write_seconds",
                "From a write's arrival to its answer",
            ),
            commit_seconds: latency("carillon_store_commit_seconds", "One transaction, fsync included"),
            read_seconds: latency(
                "carillon_store_read_seconds",
                "From a read's arrival to its answer",
            ),
            group_rows: metrics.histogram(
                "carillon_store_group_rows",
                "Rows of callers' batches in one transaction",
                &ROWS_BUCKETS,
            ),
            waiting: metrics.gauge("carillon_store_waiting_writes", "Writes in the queue"),
            expired: metrics.counter("carillon_store_expired_total", "Expired rows that were removed"),
            panics: metrics.counter(
                "carillon_store_writer_panics_total",
                "Panics of the writer that were caught",
            ),
            errors: metrics.counter_vec(
                "carillon_store_errors_total",
                "Answers that were errors",
                &["kind"],
            ),
        }
    }
}
