//! `carillon ingest`: the ingest role of a cluster.
//!
//! In: settings. Out: HTTP served until a signal. Always: requests under way are answered before the end.

use anyhow::Result;

use super::role::Serving;
use crate::stack::{page_key, start_ingest};

/// Where ingest listens without being told.
const LISTEN: &str = "127.0.0.1:8080";

/// Arguments of `carillon ingest`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon ingest --kafka kafka-1:9092,kafka-2:9092 --store cassandra://cassandra-1,cassandra-2/carillon --auth-key-file issuer.pem")]
pub(crate) struct Args {
    /// Where HTTP is served [default: 127.0.0.1:8080].
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    #[command(flatten)]
    serving: Serving,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let (role, gate, access) = self.serving.bind("ingest", self.listen, LISTEN).await?;
        let page_key = page_key(&role.settings, random_secret)?;
        let Some(standing) = role.stand(&[&role.bus.topics.notifications]).await? else {
            return role.end_early().await;
        };
        let store = standing.store;
        let part = start_ingest(
            &role.settings,
            &role.process,
            &role.bus,
            &store,
            &access,
            page_key,
        )?;
        let http = gate.open(part.ingest.routes()).await;
        role.made();
        let stop = role.stopping().await;
        http.close(stop.left() / 3).await;
        let outcome = part.stop(stop.left() / 2).await;
        role.end(stop, store, outcome).await
    }
}

/// Without a configured secret, page cursors hold for this process alone.
fn random_secret() -> Result<Vec<u8>> {
    tracing::warn!("no page_secret configured: page cursors end with this process and hold for no other");
    let key = carillon_auth::mint::SigningKey::generate_ed25519()?;
    Ok(key.to_pem().unwrap_or_default().as_bytes().to_vec())
}
