//! `carillon store`: bring a store's schema up to date, and look whether the store is sound.
//!
//! In: a store's URL. Out: versions and counts. Always: `check` changes nothing.

use anyhow::Result;
use serde_json::json;

use crate::{
    output::{self, Format, OutputArgs},
    settings::{ConfigFlags, Pairs, Settings, StoreFlags, load},
    stack::{install_telemetry, store_config, store_url},
};

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Create the schema or bring it up to date. Safe to repeat.
    #[command(
        after_help = "Example:\n  carillon store migrate --store cassandra://cassandra-1,cassandra-2/carillon"
    )]
    Migrate(Args),
    /// Read the whole store and say whether it is sound.
    #[command(after_help = "Example:\n  carillon store check --store sqlite:carillon-data/carillon.db")]
    Check(Args),
}

/// Arguments of both.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    config: ConfigFlags,
}

impl Command {
    pub(crate) async fn run(self) -> Result<()> {
        match self {
            Self::Migrate(args) => migrate(&args).await,
            Self::Check(args) => check(&args).await,
        }
    }
}

impl Args {
    fn settings(&self) -> Result<Settings> {
        let mut pairs = Pairs::default();
        self.store.push(&mut pairs);
        let settings = load(&self.config, pairs)?.settings;
        install_telemetry(&settings, "warn")?;
        Ok(settings)
    }
}

async fn migrate(args: &Args) -> Result<()> {
    let settings = args.settings()?;
    let done = carillon_store::migrate(store_url(&settings)?, &store_config(&settings)?).await?;
    match args.output.output {
        Format::Json => output::json(&json!({"from": done.from, "to": done.to})),
        Format::Text if done.from == done.to => {
            output::line(format_args!("schema {} is up to date", done.to))
        }
        Format::Text => output::line(format_args!("schema brought from {} to {}", done.from, done.to)),
    }
}

async fn check(args: &Args) -> Result<()> {
    let settings = args.settings()?;
    let found = carillon_store::check(store_url(&settings)?, &store_config(&settings)?).await?;
    let rows: serde_json::Map<_, _> = found
        .rows
        .iter()
        .map(|(t, n)| ((*t).to_owned(), json!(n)))
        .collect();
    if args.output.output == Format::Json {
        return output::json(&json!({"schema": found.schema, "bytes": found.bytes, "rows": rows}));
    }
    let bytes = found
        .bytes
        .map_or(String::new(), |bytes| format!(", {bytes} bytes"));
    output::line(format_args!("sound: schema {}{bytes}", found.schema))?;
    found
        .rows
        .iter()
        .try_for_each(|(table, rows)| output::line(format_args!("  {table:<24} {rows:>12}")))
}
