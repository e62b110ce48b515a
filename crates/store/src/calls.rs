//! Calls: what every store measures of its answers, whatever holds the rows.
//!
//! In: the registry, calls. Out: how long they took and how they failed, under one name for all stores.
//! Always: no label holds a tenant; a call's answer is not changed.

use std::time::Instant;

use carillon_chassis::metrics::{CounterVec, Histogram, LATENCY_BUCKETS, Metrics};

use crate::StoreError;

/// Which calls take how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    Read,
}

/// The measures of all calls.
#[derive(Clone)]
pub(crate) struct Calls {
    write_seconds: Histogram,
    read_seconds: Histogram,
    errors: CounterVec,
}

impl Calls {
    pub(crate) fn new(metrics: &Metrics) -> Self {
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
            errors: metrics.counter_vec(
                "carillon_store_errors_total",
                "Answers that were errors",
                &["kind"],
            ),
        }
    }

    /// A call that began then has this answer.
    pub(crate) fn ended<T>(&self, call: Call, began: Instant, answer: &Result<T, StoreError>) {
        let seconds = match call {
            Call::Write => &self.write_seconds,
            Call::Read => &self.read_seconds,
        };
        seconds.observe(began.elapsed().as_secs_f64());
        if let Err(error) = answer {
            self.errors.with_label_values(&[error.kind()]).inc();
        }
    }
}
