//! `carillon fanout`: the fanout role of a cluster.
//!
//! In: settings. Out: WebSocket clients served until a signal. Always: sessions are closed with 4000 before
//! the end, so that they come back elsewhere.

use anyhow::Result;

use super::role::{Role, SCOPES};
use crate::{
    settings::{AuthFlags, ConfigFlags, KafkaFlags, Pairs, StoreFlags},
    stack::{access, bind, require_loopback, resolve, serve, start_fanout},
};

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
    kafka: KafkaFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    auth: AuthFlags,
    #[command(flatten)]
    config: ConfigFlags,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let mut pairs = Pairs::default();
        pairs.text("listen", self.listen.as_ref());
        self.kafka.push(&mut pairs);
        self.store.push(&mut pairs);
        self.auth.push(&mut pairs);
        let role = Role::prepare("fanout", &self.config, pairs).await?;
        let listen = role.settings.listen.as_deref().unwrap_or(LISTEN);
        let (listener, address) = bind("--listen", resolve("--listen", listen)?).await?;
        require_loopback(&role.settings, address)?;
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
