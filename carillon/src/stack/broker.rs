//! The embedded broker as a part of a process.
//!
//! In: settings. Out: a broker with its port and its logs, then a running part.
//! Always: the data directory is locked before anything else touches it.

use anyhow::Result;
use carillon_broker::{Broker, BrokerError, Fsync as BrokerFsync, Options};

use super::{Part, Process, explain_listen, resolve};
use crate::settings::{Fsync, Settings};

/// The broker's folder inside a data directory.
const FOLDER: &str = "broker";
/// How late a write may reach the disk with `--fsync=interval`.
pub(super) const INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

/// Takes lock, logs and port.
pub(crate) async fn bind(settings: &Settings) -> Result<Broker> {
    let mut options = Options::new(settings.data_dir.join(FOLDER));
    options.listen = resolve("--kafka-listen", &settings.kafka_listen)?;
    options.allow_remote = settings.kafka_allow_remote;
    options.fsync = match settings.fsync {
        Fsync::Each => BrokerFsync::Each,
        Fsync::Interval => BrokerFsync::Interval(INTERVAL),
    };
    Broker::bind(options).await.map_err(|error| match error {
        BrokerError::Listen { address, source } => explain_listen("--kafka-listen", address, &source),
        error => error.into(),
    })
}

/// Serves until it is stopped.
pub(crate) fn run(broker: Broker, process: &Process) -> Part {
    Part::start(
        "broker",
        process,
        |stop| async move { Ok(broker.run(stop).await?) },
    )
}
