//! What is counted of commands.
//!
//! In: commands that ended. Out: metrics. Always: labels come from closed sets.

use carillon_chassis::metrics::{CounterVec, IntGauge, Metrics};

/// Handles of what is counted.
pub(crate) struct Meters {
    commands: CounterVec,
    running: IntGauge,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            commands: metrics.counter_vec(
                "carillon_router_commands_total",
                "Commands that were carried out or stopped",
                &["order", "result"],
            ),
            running: metrics.gauge("carillon_router_jobs_running", "Jobs that run now"),
        }
    }

    pub(super) fn done(&self, order: &'static str, result: &'static str) {
        self.commands.with_label_values(&[order, result]).inc();
    }

    pub(super) fn running(&self, jobs: usize) {
        self.running.set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }
}
