//! `carillon router`: the router role of a cluster.
//!
//! In: settings. Out: records handled until a signal. Always: what is in flight is settled before the end.

use anyhow::{Result, bail};

use super::role::Role;
use crate::{
    settings::{AdminFlags, ConfigFlags, KafkaFlags, LayoutFlags, Pairs, StoreFlags},
    stack::start_router,
};

/// Arguments of `carillon router`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon router --kafka kafka-1:9092,kafka-2:9092 --store cassandra://cassandra-1,cassandra-2/carillon")]
pub(crate) struct Args {
    /// Stable name of this process in time lines [default: the host's name].
    #[arg(long, value_name = "NAME")]
    router_node: Option<String>,
    /// The consumer group that the routers share [default: carillon-router].
    #[arg(long, value_name = "NAME")]
    router_group: Option<String>,
    #[command(flatten)]
    admin: AdminFlags,
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
        self.admin.push(&mut pairs);
        self.kafka.push(&mut pairs);
        self.layout.push(&mut pairs);
        self.store.push(&mut pairs);
        let role = Role::prepare("router", &self.config, pairs).await?;
        role.tell(None);
        let topics = &role.bus.topics;
        let needed = [&topics.deliveries, &topics.notifications, &topics.dead_letters];
        let Some(standing) = role.stand(&needed).await? else {
            return role.end_early().await;
        };
        let found = standing.partitions.first().copied().unwrap_or_default();
        let shards = shards(role.settings.topics.shards, found)?;
        let store = standing.store;
        let part = start_router(&role.settings, &role.process, &role.bus, &store, shards)?;
        role.made();
        let stop = role.stopping().await;
        let outcome = part.stop(stop.left() * 3 / 4).await;
        role.end(stop, store, outcome).await
    }
}

/// The partitions of the deliveries topic, which are the shards: as Kafka has them.
fn shards(configured: Option<u16>, found: usize) -> Result<u16> {
    match configured {
        Some(shards) if usize::from(shards) != found => bail!(
            "topics.shards is {shards} and the deliveries topic has {found} partitions: leave the setting away, or \
             name the topics that have so many with --topics-prefix"
        ),
        Some(shards) => Ok(shards),
        None => Ok(u16::try_from(found)?),
    }
}
