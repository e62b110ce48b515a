//! The whole way over real servers: ingest, router and fanout as processes, beside two bare hops.
//!
//! In: a place, posts per second, seconds. Out: latency from the intended send time, CPU per notification of
//! each role. Always: where the asked rate misses its target, the highest rate that holds is looked for and
//! shown beside it.

use std::path::Path;

use anyhow::Result;

use super::whole_way::{Load, WholeWay};
use crate::{
    bare::{self, Bare},
    place::Place,
    report::Report,
    server::{Role, SHARDS, Server},
};

/// What one broker and Cassandra on the same machine must keep, in milliseconds.
const P50: f64 = 5.0;
const P99: f64 = 30.0;
/// Rates that are tried below the asked one.
const LADDER: [u32; 9] = [800, 700, 600, 500, 400, 300, 200, 100, 50];

/// Publishes over 100 channels with one socket each.
///
/// # Errors
/// When a process does not start, a post is refused, a frame does not arrive, or the bare hops fail.
pub async fn cluster_end_to_end(binary: &Path, place: &Place, bare: &Path, load: Load) -> Result<Report> {
    bare::require(bare)?;
    let mut server = Server::on(place, binary, &[Role::Ingest, Role::Router, Role::Fanout]).await?;
    let run = WholeWay::run(&server, load).await;
    let run = server.judge(run)?;
    let arguments = ["--rate".to_owned(), load.rate.to_string()];
    let hops = Bare::run(bare, place, load.length, &arguments).await?;
    let one = place.brokers() == 1;
    let mut report = Report::new(if one {
        "post-to-frame-one-broker"
    } else {
        "post-to-frame-three-brokers"
    });
    WholeWay::settings(&mut report, load);
    report
        .setting("brokers", place.brokers())
        .setting("store", place.store_kind())
        .setting("shards", SHARDS);
    add(&mut report, &run, &hops, one);
    if one && !holds(&run) {
        highest(&mut server, &mut report, load).await?;
    }
    Ok(report)
}

fn add(report: &mut Report, run: &WholeWay, hops: &Bare, one: bool) {
    let (p50, p99) = (run.latency.p50, run.latency.p99);
    let ratio = if one {
        report
            .figure("intended send to frame p50", p50, "ms", Some("<= 5"))
            .figure("intended send to frame p99", p99, "ms", Some("<= 30"));
        None
    } else {
        Some("<= 1.5")
    };
    report
        .beside("p50 beside two bare hops", p50, "ms", hops.p50_ms, ratio)
        .beside("p99 beside two bare hops", p99, "ms", hops.p99_ms, ratio)
        .figure("intended send to frame max", run.latency.max, "ms", None);
    run.generator(report);
    report.beside(
        "CPU per notification, all roles",
        run.cpu_each(),
        "us",
        hops.cpu_us,
        None,
    );
    for (name, cpu) in &run.cpu {
        report.figure(
            &format!("CPU per notification, {name}"),
            run.each(*cpu),
            "us",
            None,
        );
    }
    run.by_thread(report);
}

fn holds(run: &WholeWay) -> bool {
    run.outcome.unsent == 0 && run.latency.p50 <= P50 && run.latency.p99 <= P99
}

/// Adds the highest rate of the ladder that holds.
async fn highest(server: &mut Server, report: &mut Report, asked: Load) -> Result<()> {
    for rate in below(asked.rate) {
        let load = Load {
            rate,
            length: asked.length / 2,
            warm_up: asked.warm_up / 2,
            ..asked
        };
        let run = WholeWay::run(server, load).await;
        let run = server.judge(run)?;
        if holds(&run) {
            report
                .figure("highest rate that holds", f64::from(rate), "1/s", None)
                .figure("p50 at that rate", run.latency.p50, "ms", Some("<= 5"))
                .figure("p99 at that rate", run.latency.p99, "ms", Some("<= 30"))
                .figure("CPU per notification at that rate", run.cpu_each(), "us", None);
            return Ok(());
        }
    }
    report.figure("highest rate that holds", 0.0, "1/s", None);
    Ok(())
}

fn below(asked: u32) -> impl Iterator<Item = u32> {
    LADDER.into_iter().filter(move |rate| *rate < asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rates_below_the_asked_one_are_tried_from_the_top() {
        assert_eq!(below(500).collect::<Vec<_>>(), [400, 300, 200, 100, 50]);
        assert_eq!(below(1000).next(), Some(800));
        assert_eq!(below(50).next(), None);
    }
}
