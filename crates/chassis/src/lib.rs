//! What every role is bolted on: configuration, telemetry, metrics, HTTP serving, readiness, shutdown.
//!
//! In: a role's routes, tasks and conditions. Out: a process that can be configured, watched and stopped.
//! Always: no globals (registry, clock, shutdown and configuration are arguments), and no domain type but ids.

pub mod admin;
pub mod backoff;
pub mod build_info;
pub mod clock;
pub mod config;
pub mod http;
pub mod limit;
pub mod metrics;
pub mod readiness;
pub mod secret;
pub mod signal;
pub mod tasks;
pub mod telemetry;
