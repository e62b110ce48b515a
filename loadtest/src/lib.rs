//! Load and measurement: a client that sees only HTTP, WebSocket and `/proc`.
//!
//! In: a server's address, or the path of the binary to start. Out: figures with the machine, the commit and
//! the settings that they were measured with. Always: load goes to loopback, is bounded in time, and ends
//! by itself.

pub mod http;
pub mod process;
pub mod publish;
pub mod report;
pub mod scenario;
pub mod server;
pub mod socket;
