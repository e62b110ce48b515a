//! Scenarios: what is done to the server, and what is counted.
//!
//! In: a running server and figures of size. Out: a [`crate::report::Report`].
//! Always: each run is bounded in time and checks that nothing was refused or lost before it reports.

mod end_to_end;
mod fan_out;
mod ingest;

pub use end_to_end::end_to_end;
pub use fan_out::fan_out;
pub use ingest::ingest;
