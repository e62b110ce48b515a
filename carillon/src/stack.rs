//! How roles stand together in a process: started in order, stopped in the opposite one.
//!
//! In: settings. Out: running parts and their addresses. Always: ports are taken before any work begins; a
//! part that ends by itself ends the process; nothing here decides about a notification.

mod access;
mod broker;
mod keys;
mod listen;
mod part;
mod process;
mod roles;
mod up;

pub(crate) use access::{access, require_loopback};
pub(crate) use broker::{bind as bind_broker, run as run_broker};
pub(crate) use keys::{Keys, TOKEN_FILE, claims, signing_key};
pub(crate) use listen::{bind, explain_listen, resolve, serve};
pub(crate) use part::Part;
pub(crate) use process::{Process, install_telemetry};
pub(crate) use roles::{bus_config, layout, open_store, page_key, start_fanout, start_ingest, start_router};
pub(crate) use up::{Up, UpAddresses};
