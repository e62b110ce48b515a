//! Telemetry: where log lines go.
//!
//! In: a format, a filter. Out: lines on standard error. Always: colours only on a terminal; standard output
//! belongs to what a command prints; a filter that an operator writes is taken as it stands.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// What a default filter keeps of Cassandra's driver: its warnings, but not those parts of it that tell each
/// attempt to connect: four lines a second, measured, one of them at `ERROR`. That the store does not answer, and
/// that it answers again, is told once by whoever calls the driver. The names are those of the driver's modules,
/// which may move: `carillon/tests/cli/servers.rs` notices.
const DRIVER: &str = "scylla=warn,scylla::cluster::metadata::cc_establisher=off,\
    scylla::cluster::metadata::worker=off";

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

/// Installs the process's log output: what the operator's filter lets through, or else the default of the command
/// without the driver's noise. Later calls in the same process change nothing.
///
/// # Errors
/// [`FilterError`] when the filter (such as `info,carillon_router=debug`) does not parse.
pub fn install(format: LogFormat, explicit: Option<&str>, default: &str) -> Result<(), FilterError> {
    let filter = filter(explicit, default)?;
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

fn filter(explicit: Option<&str>, default: &str) -> Result<EnvFilter, FilterError> {
    let text = explicit.map_or_else(|| format!("{default},{DRIVER}"), ToOwned::to_owned);
    EnvFilter::try_new(&text).map_err(|e| FilterError {
        filter: text,
        reason: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::{Event, Subscriber, error, info, warn};
    use tracing_subscriber::layer::{Context, Layer};

    use super::*;

    /// Keeps what was let through: targets with levels.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let facts = event.metadata();
            let line = format!("{} {}", facts.level(), facts.target());
            self.0.lock().push(line);
        }
    }

    /// What a driver without a server says, and a line of ours.
    fn kept(explicit: Option<&str>, default: &str) -> Vec<String> {
        let kept = Kept::default();
        let registry = tracing_subscriber::registry()
            .with(filter(explicit, default).unwrap())
            .with(kept.clone());
        tracing::subscriber::with_default(registry, || {
            error!(target: "scylla::cluster::metadata::cc_establisher", "no control connection");
            error!(target: "scylla::cluster::metadata::worker", "no topology");
            warn!(target: "scylla::network::connection", "a warning of the server");
            info!(target: "scylla::network::connection_pool", "a connection");
            warn!(target: "carillon_store::cassandra::outage", "the store does not answer");
        });
        kept.0.lock().clone()
    }

    #[test]
    fn a_default_filter_leaves_out_what_the_driver_says_about_each_attempt_to_connect() {
        let seen = [
            "WARN scylla::network::connection",
            "WARN carillon_store::cassandra::outage",
        ];
        for default in ["info", "warn"] {
            assert_eq!(kept(None, default), seen, "{default}");
        }
    }

    #[test]
    fn an_operators_filter_is_taken_as_it_stands() {
        assert_eq!(kept(Some("info"), "warn").len(), 5);
        assert_eq!(kept(Some("off,scylla=error"), "info").len(), 2);
    }

    #[test]
    fn a_filter_that_is_none_is_named() {
        let error = filter(Some("info,=="), "info").unwrap_err();
        assert!(error.to_string().contains("info,=="), "{error}");
    }
}
