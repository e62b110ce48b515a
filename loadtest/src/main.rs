//! `carillon-loadtest`: one command per scenario.
//!
//! In: the binary to measure and figures of size. Out: a table, and a baseline file.
//! Always: loopback only; ends by itself, and with an error when the run was not good.

mod arguments;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io::Write,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use arguments::{Arguments, Scenario};
use carillon_loadtest::{
    place::Place,
    report::{Report, Summary},
    scenario::{self, Load},
};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Servers that compile while they run need longer to warm up than ours.
const SERVERS_WARM_UP: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match measure(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What went wrong last stands last: the logs go before it.
            let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
            drop(writeln!(std::io::stderr(), "error: {}", chain.join("\n")));
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(arguments.threads)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        tokio::select! {
            outcome = run(arguments) => outcome,
            _ = terminated.recv() => bail!("terminated"),
            _ = interrupted.recv() => bail!("interrupted"),
        }
    })
}

async fn run(arguments: Arguments) -> Result<()> {
    let Arguments {
        binary,
        fsync,
        seconds,
        warm_up,
        threads,
        scenario,
    } = arguments;
    let length = Duration::from_secs(seconds);
    let warm_up = |usual| warm_up.map_or(usual, Duration::from_secs);
    let mut report = match scenario {
        Scenario::Ingest { connections, bare } => {
            scenario::ingest(&binary, bare.as_deref(), &fsync, connections, length).await?
        }
        Scenario::FanOut { sockets, rate } => {
            scenario::fan_out(&binary, &fsync, sockets, rate, length).await?
        }
        Scenario::EndToEnd { rate, tenants } => {
            let load = Load {
                rate,
                tenants,
                length,
                warm_up: warm_up(length / 4),
            };
            scenario::end_to_end(&binary, &fsync, load).await?
        }
        Scenario::ClusterIngest {
            connections,
            bare,
            place,
        } => {
            let place = Place::new(&place, &run_name())?;
            scenario::cluster_ingest(&binary, &place, &bare, connections, length).await?
        }
        Scenario::ClusterEndToEnd {
            rate,
            tenants,
            bare,
            place,
        } => {
            let place = Place::new(&place, &run_name())?;
            let load = Load {
                rate,
                tenants,
                length,
                warm_up: warm_up((length / 2).max(SERVERS_WARM_UP)),
            };
            scenario::cluster_end_to_end(&binary, &place, &bare, load).await?
        }
        Scenario::Summary { reports } => return summary(&reports),
    };
    report.setting("client threads", threads);
    report.finish()?;
    Ok(())
}

/// What no other run is called.
fn run_name() -> String {
    format!("bench-{:016x}", RandomState::new().build_hasher().finish())
}

fn summary(names: &[String]) -> Result<()> {
    let reports: Vec<Report> = names
        .iter()
        .map(|name| Report::read(name).with_context(|| format!("the report {name}")))
        .collect::<Result<_>>()?;
    std::io::stdout()
        .lock()
        .write_all(Summary(&reports).table().as_bytes())?;
    Ok(())
}
