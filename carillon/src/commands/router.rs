//! `carillon router`: the router role of a cluster.
//!
//! In: settings. Out: records handled until a signal. Always: what is in flight is settled before the end.

use anyhow::Result;

use super::role::Role;
use crate::{
    settings::{ConfigFlags, KafkaFlags, LayoutFlags, Pairs, StoreFlags},
    stack::start_router,
};

/// Arguments of `carillon router`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon router --kafka kafka-1:9092,kafka-2:9092 --store sqlite:/var/lib/carillon/carillon.db")]
pub(crate) struct Args {
    /// Stable name of this process in time lines [default: the host's name].
    #[arg(long, value_name = "NAME")]
    router_node: Option<String>,
    /// The consumer group that the routers share [default: carillon-router].
    #[arg(long, value_name = "NAME")]
    router_group: Option<String>,
    #[command(flatten)]
    kafka: KafkaFlags,
    #[command(flatten)]
    layout: LayoutFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    config: ConfigFlags,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let mut pairs = Pairs::default();
        pairs.text("router.node", self.router_node.as_ref());
        pairs.text("router.group", self.router_group.as_ref());
        self.kafka.push(&mut pairs);
        self.layout.push(&mut pairs);
        self.store.push(&mut pairs);
        let role = Role::prepare("router", &self.config, pairs).await?;
        let Some(shards) = role.shards().await? else {
            return role.end(Ok(())).await;
        };
        let part = start_router(&role.settings, &role.process, &role.bus, &role.store, shards)?;
        role.starting.met();
        role.process.stopping().await;
        let outcome = part.stop(role.patience() / 2).await;
        role.end(outcome).await
    }
}
