//! `carillon-loadtest`: one command per scenario.
//!
//! In: the binary to measure and figures of size. Out: a table, and a baseline file.
//! Always: loopback only; ends by itself.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use carillon_loadtest::scenario;
use clap::{Parser, Subcommand};

/// Measures a Carillon on loopback. Starts the server itself and stops it at the end.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example: carillon-loadtest end-to-end --rate 1000 --seconds 10"
)]
struct Arguments {
    /// The binary to measure.
    #[arg(long, global = true, default_value = "target/release/carillon")]
    binary: PathBuf,
    /// When a write counts as durable: each (fsync before the answer) or interval.
    #[arg(long, global = true, default_value = "each")]
    fsync: String,
    /// How long to measure.
    #[arg(long, global = true, default_value_t = 10)]
    seconds: u64,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Single posts in a closed loop; ingest in a process of its own.
    Ingest {
        /// Connections that post without a pause.
        #[arg(long, default_value_t = 200)]
        connections: u32,
        /// A bare handler that parses the same JSON, to compare with.
        #[arg(long)]
        bare: Option<PathBuf>,
    },
    /// One channel, many sockets.
    FanOut {
        /// Sockets on the channel.
        #[arg(long, default_value_t = 1000)]
        sockets: u32,
        /// Posts per second.
        #[arg(long, default_value_t = 20)]
        rate: u32,
    },
    /// POST to frame at a fixed rate, from the intended send time.
    EndToEnd {
        /// Posts per second.
        #[arg(long, default_value_t = 1000)]
        rate: u32,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments {
        binary,
        fsync,
        seconds,
        scenario,
    } = Arguments::parse();
    let length = Duration::from_secs(seconds);
    let report = match scenario {
        Scenario::Ingest { connections, bare } => {
            scenario::ingest(&binary, bare.as_deref(), &fsync, connections, length).await?
        }
        Scenario::FanOut { sockets, rate } => {
            scenario::fan_out(&binary, &fsync, sockets, rate, length).await?
        }
        Scenario::EndToEnd { rate } => scenario::end_to_end(&binary, &fsync, rate, length).await?,
    };
    report.finish()?;
    Ok(())
}
