//! Scenarios: what is done to the server, and what is counted.
//!
//! In: a running server and figures of size. Out: a [`crate::report::Report`].
//! Always: each run is bounded in time and checks that nothing was refused or lost before it reports.

mod cluster_end_to_end;
mod cluster_ingest;
mod end_to_end;
mod fan_out;
mod ingest;
mod whole_way;

pub use cluster_end_to_end::cluster_end_to_end;
pub use cluster_ingest::cluster_ingest;
pub use end_to_end::end_to_end;
pub use fan_out::fan_out;
pub use ingest::ingest;
pub use whole_way::Load;

use crate::server::TENANT;

/// The body of a single post: some 130 bytes of content, as an alert has.
fn body() -> String {
    format!(
        r#"{{"tenant_id":"{TENANT}","user_id":"u1","channel":"alerts","content":"{}"}}"#,
        "disk almost full on db-1, 93 percent used ".repeat(3)
    )
}
