//! Load and measurement: a client that sees only HTTP, WebSocket and `/proc`.
//!
//! In: addresses of servers, the paths of binaries to start. Out: figures with the machine, the commit and
//! the settings that they were measured with. Always: load goes to loopback, is bounded in time, and ends
//! by itself.

pub mod audience;
pub mod bare;
pub mod closed_loop;
pub mod http;
pub mod latency;
pub mod place;
pub mod process;
pub mod publish;
pub mod report;
pub mod scenario;
pub mod server;
pub mod socket;
