//! The whole way over real servers: ingest, router and fanout as processes, beside two bare hops.
//!
//! In: a place, posts per second, seconds. Out: latency from the intended send time, CPU per notification of
//! each role. Always: the two take turns, and the middle of the turns counts; where the asked rate misses its target, the highest rate that holds is looked for and
//! shown beside it.

use std::{path::Path, time::Duration};

use anyhow::Result;

use super::whole_way::{Load, WholeWay};
use crate::{
    bare::{self, Bare},
    latency::median,
    place::Place,
    report::Report,
    server::{Role, SHARDS, Server},
};

/// What one broker and Cassandra on the same machine must keep, in milliseconds.
const P50: f64 = 5.0;
const P99: f64 = 30.0;
/// Longest warm-up on servers that are warm.
const WARM_ENOUGH: Duration = Duration::from_secs(5);
/// Rates that are tried below the asked one.
const LADDER: [u32; 9] = [800, 700, 600, 500, 400, 300, 200, 100, 50];

/// Turns of each.
const TURNS: usize = 3;

/// What the turns measured.
struct Turns {
    ours: Vec<WholeWay>,
    bare: Vec<Bare>,
}

impl Turns {
    fn ours(&self, figure: impl Fn(&WholeWay) -> f64) -> f64 {
        median(self.ours.iter().map(figure))
    }

    fn bare(&self, figure: impl Fn(&Bare) -> f64) -> f64 {
        median(self.bare.iter().map(figure))
    }
}

/// Publishes over 100 channels with one socket each, in turns with two bare hops.
///
/// # Errors
/// When a process does not start, a post is refused, a frame does not arrive, or the bare hops fail.
pub async fn cluster_end_to_end(binary: &Path, place: &Place, bare: &Path, load: Load) -> Result<Report> {
    bare::require(bare)?;
    let mut server = Server::on(place, binary, &[Role::Ingest, Role::Router, Role::Fanout]).await?;
    let mut turns = Turns {
        ours: Vec::new(),
        bare: Vec::new(),
    };
    let mut warm_up = load.warm_up;
    for _ in 0..TURNS {
        let run = WholeWay::run(&server, Load { warm_up, ..load }).await;
        turns.ours.push(server.judge(run)?);
        turns.bare.push(bare_hops(bare, place, load).await?);
        warm_up = warm_up.min(WARM_ENOUGH);
    }
    let one = place.brokers() == 1;
    let mut report = Report::new(if one {
        "post-to-frame-one-broker"
    } else {
        "post-to-frame-three-brokers"
    });
    WholeWay::settings(&mut report, load);
    report
        .setting("turns", TURNS)
        .setting("brokers", place.brokers())
        .setting("store", place.store_kind())
        .setting("shards", SHARDS);
    add(&mut report, &turns, one);
    if one
        && !holds(
            turns.ours(|run| run.latency.p50),
            turns.ours(|run| run.latency.p99),
        )
    {
        highest(&mut server, &mut report, load).await?;
    }
    Ok(report)
}

/// Two bare hops with as many keys as there are tenants, so that as many partitions share the records. The servers are
/// warm already; topics, connections and first fetches are not.
async fn bare_hops(bare: &Path, place: &Place, load: Load) -> Result<Bare> {
    let warm_up = load.warm_up.min(WARM_ENOUGH);
    let arguments = [
        ("--rate", load.rate.to_string()),
        ("--keys", load.tenants.to_string()),
        ("--warm-up", warm_up.as_secs_f64().to_string()),
    ];
    let arguments: Vec<String> = arguments
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
    Bare::run(bare, place, load.length, &arguments).await
}

fn add(report: &mut Report, turns: &Turns, one: bool) {
    let p50 = turns.ours(|run| run.latency.p50);
    let p99 = turns.ours(|run| run.latency.p99);
    let ratio = if one {
        report
            .figure("intended send to frame p50", p50, "ms", Some("<= 5"))
            .figure("intended send to frame p99", p99, "ms", Some("<= 30"));
        None
    } else {
        Some("<= 1.5")
    };
    let max = turns.ours.iter().map(|run| run.latency.max);
    report
        .beside(
            "p50 beside two bare hops",
            p50,
            "ms",
            turns.bare(|hops| hops.p50_ms),
            ratio,
        )
        .beside(
            "p99 beside two bare hops",
            p99,
            "ms",
            turns.bare(|hops| hops.p99_ms),
            ratio,
        )
        .figure("intended send to frame max", max.fold(0.0, f64::max), "ms", None)
        .beside(
            "CPU per notification, all roles",
            turns.ours(WholeWay::cpu_each),
            "us",
            turns.bare(|hops| hops.cpu_us),
            None,
        );
    let Some(last) = turns.ours.last() else { return };
    for (name, cpu) in &last.cpu {
        let name = format!("CPU per notification, {name}, last turn");
        report.figure(&name, last.each(*cpu), "us", None);
    }
    last.by_thread(report);
    last.generator(report);
}

fn holds(p50: f64, p99: f64) -> bool {
    p50 <= P50 && p99 <= P99
}

/// Adds the highest rate of the ladder that holds.
async fn highest(server: &mut Server, report: &mut Report, asked: Load) -> Result<()> {
    for rate in below(asked.rate) {
        let load = Load {
            rate,
            length: asked.length / 2,
            warm_up: (asked.warm_up / 2).min(WARM_ENOUGH),
            ..asked
        };
        let run = WholeWay::run(server, load).await;
        let run = server.judge(run)?;
        if run.outcome.unsent == 0 && holds(run.latency.p50, run.latency.p99) {
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
