//! `carillon broker`: the embedded broker alone.
//!
//! In: settings. Out: the Kafka protocol served until a signal. Always: everything is on disk before the end.

use std::time::Duration;

use anyhow::Result;

use crate::{
    output::note,
    settings::{ConfigFlags, DataFlags, Pairs, load},
    stack::{Process, bind_broker, install_telemetry, run_broker},
};

/// Arguments of `carillon broker`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon broker --kafka-listen 127.0.0.1:9092 --data-dir ./broker-data")]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    config: ConfigFlags,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let mut pairs = Pairs::default();
        self.data.push(&mut pairs);
        let settings = load(&self.config, pairs)?.settings;
        install_telemetry(&settings, "warn,carillon_chassis::signal=info")?;
        let process = Process::new();
        process.watch_signals()?;
        let broker = bind_broker(&settings).await?;
        note(format_args!(
            "Kafka protocol on {}, data in {}. One machine, no replication.",
            broker.local_addr(),
            settings.data_dir.display()
        ));
        let part = run_broker(broker, &process);
        process.stopping().await;
        let outcome = part.stop(Duration::from_secs(settings.stop_within_seconds)).await;
        process.outcome().and(outcome)
    }
}
