//! Chaos: faults drawn from a seed, what happened under them, and whether it was allowed.
//!
//! In: a seed; what actors and topics showed. Out: a plan of faults; a report of every rule with its figure.
//! Always: everything here is pure, so that the checker itself is checked on made-up histories.

pub mod check;
pub mod history;
pub mod kinds;
pub mod plan;
mod random;
pub mod recovery;
mod rules;
pub mod seeded;
mod table;

pub use check::{Limits, Report, check};
pub use history::History;
pub use kinds::Kind;
pub use plan::{Action, Fault, Ground, Plan, Round, Target};
