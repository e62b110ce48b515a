//! `carillon fanout`: the fanout role of a cluster.
//!
//! In: settings. Out: WebSocket clients served until a signal. Always: sessions are closed with 4000 before
//! the end, so that they come back elsewhere.

use anyhow::Result;

use super::role::{SCOPES, Serving};
use crate::stack::{access, serve, start_fanout};

/// Where fanout listens without being told.
const LISTEN: &str = "127.0.0.1:8081";

/// Arguments of `carillon fanout`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon fanout --kafka kafka-1:9092,kafka-2:9092 --store sqlite:/var/lib/carillon/carillon.db --auth-key-file issuer.pem")]
pub(crate) struct Args {
    /// Where WebSocket clients are served [default: 127.0.0.1:8081].
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    #[command(flatten)]
    serving: Serving,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let (role, listener, address) = self.serving.bind("fanout", self.listen, LISTEN).await?;
        let access = access(&role.settings, None, SCOPES, &role.process.clock)?;
        let (fanout, part) = start_fanout(&role.settings, &role.process, &role.bus, &role.store, &access)?;
        let http = serve(listener, fanout.routes());
        role.starting.met();
        tracing::info!(%address, "fanout serves");
        role.process.stopping().await;
        http.close(role.patience() / 3).await;
        let outcome = part.stop(role.patience() / 2).await;
        drop(fanout);
        role.end(outcome).await
    }
}
