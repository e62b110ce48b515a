//! The simulation: routers, clients, brokers and a store in one thread, deterministic by seed, in virtual time.
//!
//! In: seeds. Out: broken rules, each with its seed. Always: everything pure is the router's own (opening, travel,
//! verdicts, ladder, gate, intake with its lanes, waiting and overflow, breaker, low-water marks); the rim between keeps
//! the order of effects that the real rooms keep, one effect a step; what one room tells another waits between them;
//! and between any two steps a router may die, lose a partition or an answer, and the store or Kafka may go away.
//!
//! `SIM_SCHEDULES` is how many, `SIM_SEED` where to begin, `SIM_TELL=1` tells what happens. A seed that fails goes into `sim/corpus.txt`, which is run
//! first.

mod checks;
mod clients;
mod cluster;
mod consumer;
mod flow;
mod log;
mod node;
mod producer;
mod reading;
mod redrive;
mod rng;
mod store;
mod tests;
mod world;

use cluster::Cluster;
use world::Violation;

/// A bug that a router may be given, to see whether the checks find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    AckBeforeStore,
    CommitHighWater,
    DropFailedDeadLetter,
    NoResumeAfterRebalance,
    SkipTenantCheck,
}

/// Runs one schedule.
fn schedule(seed: u64, bug: Option<Bug>) -> Vec<Violation> {
    let mut cluster = Cluster::new(seed, bug);
    cluster.run();
    cluster.check();
    cluster.world.violations
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    #[allow(clippy::disallowed_methods, reason = "a test's own knobs")]
    std::env::var(name).ok()?.parse().ok()
}
