//! Configuration of what runs beside the pipeline: every bound and every wait.
//!
//! In: figures. Out: the same, documented. Always: a default is good for one machine.

use std::time::Duration;

/// Bounds of what runs beside the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BesideConfig {
    /// Most records of receipts or audit that are kept at once.
    pub records: usize,
    /// Records that a consumer may hand over ahead; when they wait, it stops fetching.
    pub ahead: usize,
    /// Most jobs that run at once, each of another tenant. The next waits for its turn.
    pub jobs: usize,
    /// Most jobs of one tenant that wait behind the one that runs; one more is refused.
    pub jobs_waiting: usize,
    /// Most cancels under way; when they are, no further command is taken.
    pub cancels: usize,
    /// Unfinished and finished commands of one partition behind a job that runs; at the bound, the partition
    /// is paused.
    pub commands_in_flight: usize,
    /// How often the schedule is looked at.
    pub look_every: Duration,
    /// Most notifications that are read from the schedule of a partition at once.
    pub due_batch: usize,
    /// Most notifications of one partition that are due and on their way; above it, the rest waits in the
    /// schedule.
    pub due_in_flight: usize,
}

impl Default for BesideConfig {
    fn default() -> Self {
        Self {
            records: 512,
            ahead: 1_024,
            jobs: 8,
            jobs_waiting: 100,
            cancels: 64,
            commands_in_flight: 50_000,
            look_every: Duration::from_secs(1),
            due_batch: 500,
            due_in_flight: 1_000,
        }
    }
}

impl BesideConfig {
    /// Whether every bound is at least one.
    pub(crate) fn is_sound(&self) -> bool {
        let bounds = [
            self.records,
            self.ahead,
            self.jobs,
            self.jobs_waiting,
            self.cancels,
            self.commands_in_flight,
            self.due_batch,
            self.due_in_flight,
        ];
        !bounds.contains(&0) && !self.look_every.is_zero()
    }
}
