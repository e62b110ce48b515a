//! The command line: every command on one screen.
//!
//! In: arguments. Out: a command that can be run. Always: every command shows an example in its help.

use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::commands::{
    broker, cancel, config, demo, dlq, fanout, ingest, listen, replay, router, schemas, send, smoke, store,
    token, topics, up,
};

/// Multi-tenant, real-time notifications on Kafka.
#[derive(Debug, Parser)]
#[command(
    name = "carillon",
    version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_COMMIT"), ")"),
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Example:\n  carillon up\n  carillon listen --channel alerts\n  carillon send --channel alerts 'disk almost full'"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process: durable, on this machine, nothing else needed.
    Up(Box<up::Args>),
    /// Run the ingest role: HTTP in, records on Kafka.
    Ingest(Box<ingest::Args>),
    /// Run the router role: Kafka to store and deliveries.
    Router(Box<router::Args>),
    /// Run the fanout role: deliveries to WebSocket clients.
    Fanout(Box<fanout::Args>),
    /// Run the embedded broker alone: the Kafka protocol, for one machine, without replication.
    Broker(Box<broker::Args>),
    /// Publish notifications: one from the arguments, or one per line from standard input.
    Send(Box<send::Args>),
    /// Take a scheduled notification back before it is due.
    Cancel(Box<cancel::Args>),
    /// Receive notifications of channels, as lines or as NDJSON.
    Listen(Box<listen::Args>),
    /// Show it all in eight steps: two tenants, four subscribers, isolation, last-N, a drop and a resume.
    Demo(Box<demo::Args>),
    /// See a tenant's dead letters, put them back in, throw them away.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Dispatch stored notifications again.
    Replay(Box<replay::Args>),
    /// Mint and inspect tokens.
    #[command(subcommand)]
    Token(token::Command),
    /// See and make the Kafka topics.
    #[command(subcommand)]
    Topics(topics::Command),
    /// Migrate and check the store.
    #[command(subcommand)]
    Store(store::Command),
    /// Write and check the JSON Schemas of every contract.
    #[command(subcommand)]
    Schemas(schemas::Command),
    /// Show and check the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Check a running instance: POST, frame, Kafka record, stored state, refused tokens.
    Smoke(Box<smoke::Args>),
}

impl Command {
    /// Runs it; `begun` is when the process started.
    pub(crate) async fn run(self, begun: Instant) -> Result<()> {
        match self {
            Self::Up(args) => args.run(begun).await,
            Self::Ingest(args) => args.run().await,
            Self::Router(args) => args.run().await,
            Self::Fanout(args) => args.run().await,
            Self::Broker(args) => args.run().await,
            Self::Send(args) => args.run().await,
            Self::Cancel(args) => args.run().await,
            Self::Listen(args) => args.run().await,
            Self::Dlq(command) => command.run().await,
            Self::Replay(args) => args.run().await,
            Self::Demo(args) => args.run().await,
            Self::Token(command) => command.run(),
            Self::Topics(command) => command.run().await,
            Self::Store(command) => command.run().await,
            Self::Schemas(command) => command.run(),
            Self::Config(command) => command.run(),
            Self::Smoke(args) => args.run().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, String)>) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            if sub.has_subcommands() {
                leaves(sub, &path, found);
            } else {
                found.push((
                    path,
                    sub.get_after_help().map(ToString::to_string).unwrap_or_default(),
                ));
            }
        }
    }

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_that_it_accepts() {
        let mut found = Vec::new();
        leaves(&Cli::command(), "carillon", &mut found);
        assert_eq!(found.len(), 25, "{found:?}");
        for (path, help) in found {
            let example = help
                .lines()
                .find_map(|line| line.trim().split_once(&path).map(|(_, rest)| rest));
            let example = example.unwrap_or_else(|| panic!("{path} has no example: {help}"));
            let plain = example
                .split(['|', '<', '>', '\'', '"'])
                .next()
                .unwrap_or_default();
            let arguments = path.split(' ').chain(plain.split_whitespace());
            assert!(
                Cli::try_parse_from(arguments).is_ok(),
                "{path} does not accept its example{plain}"
            );
        }
    }
}
