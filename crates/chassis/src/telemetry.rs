//! Telemetry: where log lines go.
//!
//! In: a format and a filter. Out: lines on standard error. Always: colours only on a terminal; standard
//! output belongs to what a command prints.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// The filter is not one.
#[derive(Debug, thiserror::Error)]
#[error("log filter {filter:?} is not valid: {reason}")]
pub struct FilterError {
    filter: String,
    reason: String,
}

/// Installs the process's log output. Later calls in the same process change nothing.
///
/// # Errors
/// [`FilterError`] when the filter (such as `info,carillon_router=debug`) does not parse.
pub fn install(format: LogFormat, filter: &str) -> Result<(), FilterError> {
    let filter = EnvFilter::try_new(filter).map_err(|e| FilterError {
        filter: filter.to_owned(),
        reason: e.to_string(),
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let output = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let installed = match format {
        LogFormat::Text => registry.with(output).try_init(),
        LogFormat::Json => registry.with(output.json().flatten_event(true)).try_init(),
    };
    drop(installed);
    Ok(())
}
