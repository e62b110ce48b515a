//! The client: publish over HTTP, listen over WebSocket and come back where one left off, read what became of it.
//!
//! In: the address of a server, a token. Out: acceptances, events of streams, state.
//! Always: a loss is repaired from the last cursor or told, never silent; a repeat is handed out once; no
//! token stands in an error; every wait has a bound.
//!
//! ```no_run
//! use carillon_client::{Connection, Event, Listener, ListenerOptions, Publisher};
//! use carillon_schemas::notification::Submission;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Connection::new("http://127.0.0.1:8080")?.with_token("…");
//! let mut listener = Listener::connect(&server, ListenerOptions::channels(["default".parse()?])).await?;
//! listener.subscribed().await?;
//! Publisher::new(&server)?.publish(&Submission::text("hello"), None).await?;
//! while let Event::Notification(frame) = listener.next().await? {
//!     assert_eq!(frame.delivery.envelope.content, "hello");
//! }
//! # Ok(())
//! # }
//! ```

mod api;
mod backoff;
mod connection;
mod error;
mod http;
mod listener;
mod publisher;

pub use api::{Api, AuditTrail, DeadLetters, Deliveries, Readiness, Unmet};
pub use connection::Connection;
pub use error::ClientError;
pub use listener::{Event, Listener, ListenerOptions};
pub use publisher::{Publisher, Retry};
