//! The command line.
//!
//! In: arguments. Out: a scenario and its figures. Always: figures have defaults, which are those of the
//! targets.

use std::path::PathBuf;

use carillon_loadtest::place::PlaceArguments;
use clap::{Parser, Subcommand};

/// Measures a Carillon on loopback. Starts the server itself and stops it at the end.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  carillon-loadtest end-to-end --rate 1000 --seconds 10
  carillon-loadtest cluster-end-to-end --kafka 127.0.0.1:9092 --store sqlite:/tmp/bench.db --bare target/release/examples/bare_hops"
)]
pub(crate) struct Arguments {
    /// The binary to measure.
    #[arg(long, global = true, default_value = "target/release/carillon")]
    pub(crate) binary: PathBuf,
    /// When a write of embedded parts counts as durable: each (fsync before the answer) or interval.
    #[arg(long, global = true, default_value = "each")]
    pub(crate) fsync: String,
    /// How long to measure (each turn, where there are several).
    #[arg(long, global = true, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Seconds of the same load before the measurement of an open loop, for caches, connections and compilers; by
    /// default a part of the measurement's length.
    #[arg(long, global = true)]
    pub(crate) warm_up: Option<u64>,
    /// Threads of the load generator.
    #[arg(long, global = true, default_value_t = 2)]
    pub(crate) threads: usize,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Single posts in a closed loop; ingest in a process of its own on the embedded broker.
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
    /// POST to frame at a fixed rate, from the intended send time; one process.
    EndToEnd {
        /// Posts per second.
        #[arg(long, default_value_t = 1000)]
        rate: u32,
        /// Tenants that share them; one has one partition, many spread.
        #[arg(long, default_value_t = 1)]
        tenants: u32,
    },
    /// Single posts in a closed loop; ingest on real Kafka.
    ClusterIngest {
        /// Connections that post without a pause, and records in flight of the bare producer.
        #[arg(long, default_value_t = 200)]
        connections: u32,
        /// The bare producer, to compare with.
        #[arg(long, default_value = "target/release/examples/bare_producer")]
        bare: PathBuf,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// POST to frame at a fixed rate over real servers; each role a process.
    ClusterEndToEnd {
        /// Posts per second.
        #[arg(long, default_value_t = 1000)]
        rate: u32,
        /// Tenants that share them; one has one partition, many spread.
        #[arg(long, default_value_t = 1)]
        tenants: u32,
        /// Two bare hops, to compare with.
        #[arg(long, default_value = "target/release/examples/bare_hops")]
        bare: PathBuf,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// One table over reports that were written before.
    Summary {
        /// Names of reports in loadtest/baselines, without `.json`.
        #[arg(required = true)]
        reports: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn figures_have_the_defaults_of_the_targets() {
        let arguments = Arguments::try_parse_from(["x", "cluster-ingest", "--kafka", "a:1"]).unwrap();
        assert_eq!((arguments.seconds, arguments.fsync.as_str()), (10, "each"));
        let Scenario::ClusterIngest {
            connections, place, ..
        } = arguments.scenario
        else {
            panic!("another scenario")
        };
        assert_eq!((connections, place.kafka.as_deref()), (200, Some("a:1")));
    }

    #[test]
    fn a_summary_of_nothing_and_an_unknown_figure_are_refused() {
        assert!(Arguments::try_parse_from(["x", "summary"]).is_err());
        assert!(Arguments::try_parse_from(["x", "end-to-end", "--rate", "many"]).is_err());
        assert!(Arguments::try_parse_from(["x"]).is_err());
    }
}
