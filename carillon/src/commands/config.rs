//! `carillon config`: what is configured, and from where.
//!
//! In: a file, the environment, flags. Out: every key with its value and source.
//! Always: secrets are shown as `***`.

use anyhow::Result;

use crate::{
    output::{self, Format, Ink, OutputArgs, ink},
    settings::{
        AdminFlags, AuthFlags, ConfigFlags, DataFlags, KafkaFlags, LayoutFlags, Pairs, StoreFlags, load,
    },
};

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show every setting with its value and where it comes from.
    #[command(after_help = "Example:\n  carillon config show --config carillon.toml --listen 127.0.0.1:8090")]
    Show(Box<Args>),
    /// Say whether the configuration can be read.
    #[command(after_help = "Example:\n  carillon config check --config carillon.toml")]
    Check(Box<Args>),
}

/// Arguments of both: all that the server commands take.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where HTTP and WebSocket are served.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    kafka: KafkaFlags,
    #[command(flatten)]
    layout: LayoutFlags,
    #[command(flatten)]
    admin: AdminFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    auth: AuthFlags,
    #[command(flatten)]
    config: ConfigFlags,
}

impl Command {
    pub(crate) fn run(self) -> Result<()> {
        let (args, show) = match self {
            Self::Show(args) => (args, true),
            Self::Check(args) => (args, false),
        };
        let mut pairs = Pairs::default();
        pairs.text("listen", args.listen.as_ref());
        args.data.push(&mut pairs);
        args.kafka.push(&mut pairs);
        args.layout.push(&mut pairs);
        args.admin.push(&mut pairs);
        args.store.push(&mut pairs);
        args.auth.push(&mut pairs);
        let loaded = load(&args.config, pairs)?;
        match (args.output.output, show) {
            (Format::Json, true) => output::json(&loaded.listing),
            (Format::Json, false) => output::json(&serde_json::json!({"valid": true})),
            (Format::Text, false) => output::line("the configuration is valid"),
            (Format::Text, true) => loaded.listing.iter().try_for_each(|setting| {
                let source = ink(Ink::Dim, &setting.source);
                output::line(format_args!(
                    "{:<28} {:<34} {source}",
                    setting.key,
                    setting.value.to_string()
                ))
            }),
        }
    }
}
