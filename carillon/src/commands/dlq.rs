//! `carillon dlq`: a tenant's dead letters: see them, put them back in, throw them away.
//!
//! In: a tenant and filters. Out: rows, a record, or a job that is watched to its end.
//! Always: nothing is thrown away that was not named by a filter, or by `--all`.

use anyhow::Result;

mod list;
mod order;
mod show;

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List dead letters, newest first.
    List(list::Args),
    /// Show one dead letter: why, where from, its headers and its value.
    Show(show::Args),
    /// Put dead letters back in, oldest first.
    #[command(after_help = "Example:
  carillon dlq redrive --tenant demo --class transient --since -1h
  carillon dlq redrive --tenant demo --dry-run
  carillon dlq redrive --tenant demo --id 3-1042 --id 3-1043 --rate 10")]
    Redrive(order::Args),
    /// Throw dead letters away.
    #[command(after_help = "Example:
  carillon dlq discard --tenant demo --class not_an_envelope
  carillon dlq discard --tenant demo --all --until -7d --dry-run")]
    Discard(order::Discard),
}

impl Command {
    pub(crate) async fn run(self) -> Result<()> {
        match self {
            Self::List(args) => args.run().await,
            Self::Show(args) => args.run().await,
            Self::Redrive(args) => args.redrive().await,
            Self::Discard(args) => args.discard().await,
        }
    }
}
