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
mod waiting;

pub(crate) use access::{access, require_loopback};
pub(crate) use broker::{bind as bind_broker, run as run_broker};
pub(crate) use keys::{Keys, TOKEN_FILE, claims, signing_key};
pub(crate) use listen::{Gate, bind, explain_listen, resolve, serve};
pub(crate) use part::Part;
pub(crate) use process::{Process, install_telemetry};
pub(crate) use roles::{
    bus_config, embedded_bus, layout, page_key, start_fanout, start_ingest, start_router, store_config,
    store_url,
};
pub(crate) use up::{Up, UpAddresses};
pub(crate) use waiting::{Standing, Waiting};
