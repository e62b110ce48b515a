//! What a store on Cassandra measures of itself, beside its calls.
//!
//! In: the registry. Out: handles, cheap to clone. Always: no label holds a tenant.

use carillon_chassis::metrics::{Histogram, IntGauge, LATENCY_BUCKETS, Metrics};

#[derive(Clone)]
pub(super) struct Meters {
    pub(super) statement_seconds: Histogram,
    pub(super) waiting: IntGauge,
    pub(super) in_flight: IntGauge,
}

impl Meters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            statement_seconds: metrics.histogram(
                "carillon_store_statement_seconds",
                "One statement or batch of one partition, retries included",
                &LATENCY_BUCKETS,
            ),
            waiting: metrics.gauge(
                "carillon_store_waiting_statements",
                "Statements that wait until fewer are on their way",
            ),
            in_flight: metrics.gauge("carillon_store_statements_in_flight", "Statements on their way"),
        }
    }
}
