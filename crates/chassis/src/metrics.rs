//! Metrics: one registry per process half, passed in, so that several roles can live in one process.
//!
//! In: names, help texts, closed label sets. Out: counters, gauges, histograms, and the Prometheus text.
//! Always: asking for a name twice gives the same metric; nothing is registered globally.

use std::{any::Any, collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use prometheus::{HistogramOpts, Opts, Registry, TextEncoder, core::Collector};

pub use prometheus::{
    Gauge, Histogram, HistogramVec, IntCounter as Counter, IntCounterVec as CounterVec, IntGauge, IntGaugeVec,
};

/// Buckets in seconds for latencies from 0.1 ms to 30 s.
pub const LATENCY_BUCKETS: [f64; 17] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];

/// A registry, cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Registry,
    known: Arc<Mutex<HashMap<String, Box<dyn Any + Send>>>>,
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// A counter. By convention its name ends in `_total`.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.get(name, || Counter::new(name, help))
    }

    /// A counter per value of labels that come from closed sets.
    pub fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.get(name, || CounterVec::new(Opts::new(name, help), labels))
    }

    /// A gauge of whole numbers.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.get(name, || IntGauge::new(name, help))
    }

    /// A gauge per value of labels that come from closed sets.
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.get(name, || IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// A histogram with these upper bounds.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.get(name, || {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
        })
    }

    /// A histogram per value of labels that come from closed sets.
    pub fn histogram_vec(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.get(name, || HistogramVec::new(options, labels))
    }

    /// Everything in the Prometheus text format.
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }

    #[allow(
        clippy::panic,
        reason = "a bad metric name is a bug that the first start shows"
    )]
    fn get<M>(&self, name: &str, make: impl FnOnce() -> prometheus::Result<M>) -> M
    where
        M: Collector + Clone + Send + 'static,
    {
        let mut known = self.known.lock();
        if let Some(metric) = known.get(name).and_then(|m| m.downcast_ref::<M>()) {
            return metric.clone();
        }
        let registered = make().and_then(|metric| {
            self.registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        });
        match registered {
            Ok(metric) => {
                known.insert(name.to_owned(), Box::new(metric.clone()));
                metric
            }
            Err(error) => panic!("metric {name}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_asked_for_twice_is_one_metric() {
        let metrics = Metrics::new();
        metrics.counter("carillon_test_things_total", "things").inc();
        metrics.counter("carillon_test_things_total", "things").inc();
        assert!(metrics.render().contains("carillon_test_things_total 2"));
    }
}
