//! What the SQLite store measures of itself, beside its calls.
//!
//! In: the registry. Out: handles, cheap to clone. Always: no label holds a tenant.

use carillon_chassis::metrics::{Counter, Histogram, IntGauge, LATENCY_BUCKETS, Metrics};

/// Rows per transaction.
const ROWS_BUCKETS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0];

#[derive(Clone)]
pub(super) struct Meters {
    pub(super) commit_seconds: Histogram,
    pub(super) group_rows: Histogram,
    pub(super) waiting: IntGauge,
    pub(super) expired: Counter,
    pub(super) panics: Counter,
}

impl Meters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            commit_seconds: metrics.histogram(
                "carillon_store_commit_seconds",
                "One transaction, fsync included",
                &LATENCY_BUCKETS,
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
        }
    }
}
