//! `carillon store`: bring a store's schema up to date, and look whether the store is sound.
//!
//! In: a store's URL. Out: versions and counts. Always: `check` changes nothing.

use anyhow::Result;
use serde_json::json;

use crate::output::{self, Format, OutputArgs};

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Create the schema or bring it up to date. Safe to repeat.
    #[command(after_help = "Example:\n  carillon store migrate --store sqlite:carillon-data/carillon.db")]
    Migrate(Args),
    /// Read the whole store and say whether it is sound.
    #[command(after_help = "Example:\n  carillon store check --store sqlite:carillon-data/carillon.db")]
    Check(Args),
}

/// Arguments of both.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store, such as sqlite:PATH.
    #[arg(long, value_name = "URL")]
    store: String,
    #[command(flatten)]
    output: OutputArgs,
}

impl Command {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Migrate(args) => migrate(&args),
            Self::Check(args) => check(&args),
        }
    }
}

fn migrate(args: &Args) -> Result<()> {
    let done = carillon_store::migrate(&args.store)?;
    match args.output.output {
        Format::Json => output::json(&json!({"from": done.from, "to": done.to})),
        Format::Text if done.from == done.to => {
            output::line(format_args!("schema {} is up to date", done.to))
        }
        Format::Text => output::line(format_args!("schema brought from {} to {}", done.from, done.to)),
    }
}

fn check(args: &Args) -> Result<()> {
    let found = carillon_store::check(&args.store)?;
    let rows: serde_json::Map<_, _> = found
        .rows
        .iter()
        .map(|(t, n)| ((*t).to_owned(), json!(n)))
        .collect();
    if args.output.output == Format::Json {
        return output::json(&json!({"schema": found.schema, "bytes": found.bytes, "rows": rows}));
    }
    output::line(format_args!(
        "sound: schema {}, {} bytes",
        found.schema, found.bytes
    ))?;
    found
        .rows
        .iter()
        .try_for_each(|(table, rows)| output::line(format_args!("  {table:<24} {rows:>12}")))
}
