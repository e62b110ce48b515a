//! What a store on Cassandra measures of itself; the names are those of the SQLite store where the thing is.
//!
//! In: the registry. Out: handles, cheap to clone. Always: no label holds a tenant.

use carillon_chassis::metrics::{CounterVec, Histogram, IntGauge, LATENCY_BUCKETS, Metrics};

#[derive(Clone)]
pub(super) struct Meters {
    pub(super) write_seconds: Histogram,
    pub(super) read_seconds: Histogram,
    pub(super) statement_seconds: Histogram,
    pub(super) waiting: IntGauge,
    pub(super) in_flight: IntGauge,
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
            read_seconds: latency(
                "carillon_store_read_seconds",
                "From a read's arrival to its answer",
            ),
            statement_seconds: latency(
                "carillon_store_statement_seconds",
                "One statement or batch of one partition, retries included",
            ),
            waiting: metrics.gauge(
                "carillon_store_waiting_statements",
                "Statements that wait until fewer are on their way",
            ),
            in_flight: metrics.gauge("carillon_store_statements_in_flight", "Statements on their way"),
            errors: metrics.counter_vec(
                "carillon_store_errors_total",
                "Answers that were errors",
                &["kind"],
            ),
        }
    }
}
