//! `carillon fanout`: the fanout role of a cluster.
//!
//! In: settings. Out: WebSocket clients served until a signal. Always: sessions are closed with 4000 before
//! the end, so that they come back elsewhere.

use anyhow::Result;

use super::role::Serving;
use crate::stack::start_fanout;

/// Where fanout listens without being told.
const LISTEN: &str = "127.0.0.1:8081";

/// Arguments of `carillon fanout`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon fanout --kafka kafka-1:9092,kafka-2:9092 --store cassandra://cassandra-1,cassandra-2/carillon --auth-key-file issuer.pem")]
pub(crate) struct Args {
    /// Where WebSocket clients are served [default: 127.0.0.1:8081].
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    #[command(flatten)]
    serving: Serving,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let (role, gate, access) = self.serving.bind("fanout", self.listen, LISTEN).await?;
        let Some(standing) = role.stand(&[&role.bus.topics.deliveries]).await? else {
            return role.end_early().await;
        };
        let store = standing.store;
        let (fanout, part) = start_fanout(&role.settings, &role.process, &role.bus, &store, &access)?;
        let http = gate.open(fanout.routes()).await;
        // Its readers end with their last owner.
        drop(fanout);
        role.made();
        let stop = role.stopping().await;
        http.close(stop.left() / 3).await;
        let outcome = part.stop(stop.left() / 2).await;
        role.end(stop, store, outcome).await
    }
}
