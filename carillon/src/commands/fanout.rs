//! `carillon fanout`: the fanout role of a cluster.
//!
//! In: settings. Out: WebSocket clients served until a signal. Always: sessions are closed with 4000 before
//! the end, so that they come back elsewhere.

use anyhow::Result;

use super::role::Serving;
use crate::{settings::Pairs, stack::start_fanout};

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
    /// Stable name of this process in time lines; no two of one name [default: the host's name].
    #[arg(long, value_name = "NAME")]
    fanout_node: Option<String>,
    #[command(flatten)]
    serving: Serving,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let mut pairs = Pairs::default();
        pairs.text("listen", self.listen.as_ref());
        pairs.text("fanout.node", self.fanout_node.as_ref());
        let (role, gate, access) = self.serving.bind_with(pairs, "fanout", LISTEN).await?;
        let topics = &role.bus.topics;
        let Some(standing) = role
            .stand(&[&topics.deliveries, &topics.receipts, &topics.audit])
            .await?
        else {
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
