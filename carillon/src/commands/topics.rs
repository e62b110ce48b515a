//! `carillon topics`: see what the topics lack, and make them so.
//!
//! In: Kafka's address and the layout. Out: changes, to come or made. Always: nothing shrinks (what has more
//! than is asked for is left and said), nothing is deleted, applying twice changes nothing; what must not be
//! done, such as adding shards, is refused before anything is done.

use anyhow::{Context, Result};
use carillon_bus::{Admin, Change};
use carillon_chassis::metrics::Metrics;
use serde_json::json;

use crate::{
    output::{self, Format, Ink, OutputArgs, ink},
    settings::{ConfigFlags, KafkaFlags, LayoutFlags, Pairs, load},
    stack::{bus_config, install_telemetry, layout},
};

/// Copies of each partition in a cluster.
const REPLICATION: u16 = 3;

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show what `apply` would do.
    #[command(after_help = "Example:\n  carillon topics plan --kafka 127.0.0.1:9092 --replication 1")]
    Plan(Args),
    /// Make topics, partitions and settings as they should be.
    #[command(
        after_help = "Example:\n  carillon topics apply --kafka kafka-1:9092,kafka-2:9092,kafka-3:9092"
    )]
    Apply(Args),
}

/// Arguments of both.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    kafka: KafkaFlags,
    #[command(flatten)]
    layout: LayoutFlags,
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    output: OutputArgs,
}

impl Command {
    pub(crate) async fn run(self) -> Result<()> {
        let (args, apply) = match self {
            Self::Plan(args) => (args, false),
            Self::Apply(args) => (args, true),
        };
        let mut pairs = Pairs::default();
        args.kafka.push(&mut pairs);
        args.layout.push(&mut pairs);
        let settings = load(&args.config, pairs)?.settings;
        install_telemetry(&settings, "warn")?;
        let bus = bus_config(&settings, "topics")?;
        let specs = bus.topics.all(&layout(&settings, REPLICATION));
        let admin = Admin::new(&bus, &Metrics::new())?;
        let changes = if apply {
            admin.apply(&specs).await
        } else {
            admin.plan(&specs).await
        };
        show(
            &changes.with_context(|| format!("at {}", settings.kafka))?,
            apply,
            args.output.output,
        )
    }
}

fn show(changes: &[Change], applied: bool, format: Format) -> Result<()> {
    if format == Format::Json {
        let listed: Vec<_> = changes.iter().map(ToString::to_string).collect();
        return output::json(&json!({"applied": applied, "changes": listed}));
    }
    if changes.is_empty() {
        return output::line("every topic is as it should be");
    }
    changes
        .iter()
        .try_for_each(|change| output::line(format_args!("{}  {change}", sign(change, applied))))
}

/// Whether it is done, would be, or never will be.
fn sign(change: &Change, applied: bool) -> impl std::fmt::Display {
    match change {
        Change::Refuse { .. } => ink(Ink::Red, "no  "),
        Change::Keep { .. } => ink(Ink::Bold, "left"),
        _ if applied => ink(Ink::Green, "done"),
        _ => ink(Ink::Cyan, "plan"),
    }
}
