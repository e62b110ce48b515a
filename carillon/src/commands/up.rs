//! `carillon up`: everything in one process, and a first notification within a minute of reading.
//!
//! In: settings. Out: a running product, and a banner with lines to paste. Always: what the banner shows
//! works when it is pasted.

mod banner;

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    output::{self, Format, OutputArgs},
    settings::{AuthFlags, ConfigFlags, DataFlags, Pairs, load},
    stack::{Process, Up, install_telemetry},
};

/// Warnings, and the life cycle of the process: the banner stays readable.
const LOG_FILTER: &str = "warn,carillon::commands=info,carillon_chassis::signal=info";
/// How long the banner waits for every part to take work.
const READY: Duration = Duration::from_secs(15);

/// Arguments of `carillon up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon up
  carillon up --listen 127.0.0.1:8090 --data-dir ./other-data --fsync interval")]
pub(crate) struct Args {
    /// Where HTTP and WebSocket are served [default: 127.0.0.1:8080].
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    auth: AuthFlags,
    #[command(flatten)]
    config: ConfigFlags,
}

impl Args {
    pub(crate) async fn run(self, begun: Instant) -> Result<()> {
        let mut pairs = Pairs::default();
        pairs.text("listen", self.listen.as_ref());
        self.data.push(&mut pairs);
        self.auth.push(&mut pairs);
        let settings = load(&self.config, pairs)?.settings;
        install_telemetry(&settings, LOG_FILTER)?;
        let process = Process::new();
        process.watch_signals()?;
        let up = Up::start(&settings, process).await?;
        let ready = up.process.ready_within(READY).await;
        let took = begun.elapsed();
        if !up.process.is_stopping() {
            let shown = match self.output.output {
                Format::Text => output::line(banner::text(&settings, &up.addresses, took)),
                Format::Json => output::json(&banner::facts(&settings, &up.addresses, took)),
            };
            if let Err(error) = shown {
                // Whoever started us does not read us: that is no reason not to serve.
                tracing::debug!(%error, "banner not shown");
            }
            if !ready {
                tracing::warn!(unmet = ?up.process.readiness.unmet(), "not every part takes work yet");
            }
        }
        up.process.stopping().await;
        up.stop(Duration::from_secs(settings.stop_within_seconds)).await
    }
}
