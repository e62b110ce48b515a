//! Meters: every figure of this room, resolved once.
//!
//! In: the registry. Out: handles. Always: nothing looks a metric up by name or label while it serves.

use std::time::Duration;

use carillon_chassis::metrics::{Counter, Histogram, IntGauge, LATENCY_BUCKETS, Metrics};
use carillon_schemas::problem::ProblemCode;

/// The handles.
pub(crate) struct Meters {
    /// Submits that were answered 202.
    accepted: Counter,
    accepted_as_before: Counter,
    accept_seconds: Histogram,
    /// Submits that name a key which was used before.
    pub(crate) deduplicated: Counter,
    /// Of these, the ones that were published again.
    pub(crate) republished: Counter,
    /// Submits at work.
    pub(crate) in_flight: IntGauge,
    /// Records whose request had gone when their acknowledgement came.
    pub(crate) left_over: Counter,
    rejected_as_before: Counter,
    backpressure_as_before: Counter,
    refused: [Counter; ProblemCode::ALL.len()],
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.counter(name, help);
        let refused = metrics.counter_vec(
            "carillon_ingest_refused_total",
            "Requests that were answered with a problem, by code",
            &["code"],
        );
        Self {
            accepted: counter("carillon_ingest_accepted_total", "Submits answered 202"),
            accepted_as_before: counter("notifications_ingested_total", "Submits answered 202"),
            accept_seconds: metrics.histogram(
                "carillon_ingest_accept_seconds",
                "From a submit's head to its 202, Kafka's acknowledgement included",
                &LATENCY_BUCKETS,
            ),
            deduplicated: counter(
                "carillon_ingest_deduplicated_total",
                "Submits whose idempotency key was used before for the same body",
            ),
            republished: counter(
                "carillon_ingest_republished_total",
                "Of the deduplicated submits, those published again because nobody could say they had been",
            ),
            in_flight: metrics.gauge("carillon_ingest_in_flight", "Submits at work, or whose record is"),
            left_over: counter(
                "carillon_ingest_left_over_total",
                "Records whose caller went away, or ran out of time, before Kafka acknowledged them",
            ),
            rejected_as_before: counter(
                "notifications_rejected_total",
                "Submits refused, backpressure excepted",
            ),
            backpressure_as_before: counter(
                "notifications_backpressure_rejected_total",
                "Submits refused because there was too much work",
            ),
            refused: std::array::from_fn(|at| refused.with_label_values(&[ProblemCode::ALL[at].as_str()])),
        }
    }

    /// A submit was answered 202 after so long.
    pub(crate) fn accepted(&self, after: Duration) {
        self.accepted.inc();
        self.accepted_as_before.inc();
        self.accept_seconds.observe(after.as_secs_f64());
    }

    /// A request was answered with a problem; `submit` says whether it wanted to publish.
    pub(crate) fn refused(&self, code: ProblemCode, submit: bool) {
        if let Some(counter) = self.refused.get(code as usize) {
            counter.inc();
        }
        match (submit, code) {
            (false, _) => {}
            (true, ProblemCode::Overloaded) => self.backpressure_as_before.inc(),
            (true, _) => self.rejected_as_before.inc(),
        }
    }
}
