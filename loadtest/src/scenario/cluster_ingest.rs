//! Ingest on real Kafka: single posts in a closed loop, beside a bare producer.
//!
//! In: a place, connections, seconds. Out: posts per second and latency, and their ratio to what a bare
//! rdkafka producer does with as many records in flight. Always: the two take turns in one run, and the middle
//! of the turns counts, so that a machine that drifts does not decide; anything but 202 fails the run.

use std::{path::Path, time::Duration};

use anyhow::Result;

use super::body;
use crate::{
    bare::{self, Bare},
    closed_loop::{self, Loop},
    http::post,
    latency::{Latency, median},
    place::Place,
    report::Report,
    server::{Role, Server},
};

/// Turns of each.
const TURNS: u32 = 3;
/// What an envelope around [`body`] takes, with its headers: the size of the bare producer's records.
const RECORD: usize = 480;

/// Our turn.
struct Turn {
    run: Loop,
    cpu: Duration,
}

/// Posts in a closed loop over `connections`; `length` is that of a turn.
///
/// # Errors
/// When a process does not start, a post is refused, or the bare producer fails.
pub async fn cluster_ingest(
    binary: &Path,
    place: &Place,
    bare: &Path,
    connections: u32,
    length: Duration,
) -> Result<Report> {
    bare::require(bare)?;
    let mut server = Server::on(place, binary, &[Role::Ingest]).await?;
    let request = post(&server.ingest, "/v1/notifications", Some(&server.token), &body());
    let warm = closed_loop::run(&server.ingest, &request, connections, length / 2).await;
    server.judge(warm)?;
    let (mut turns, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let arguments = [
            // As one tenant has: one partition.
            "--keys".to_owned(),
            "1".to_owned(),
            "--in-flight".to_owned(),
            connections.to_string(),
            "--size".to_owned(),
            RECORD.to_string(),
        ];
        bares.push(Bare::run(bare, place, length, &arguments).await?);
        let cpu = server.cpu();
        let run = closed_loop::run(&server.ingest, &request, connections, length).await;
        let run = server.judge(run)?;
        let cpu = server.cpu().saturating_sub(cpu);
        turns.push(Turn { run, cpu });
    }
    Ok(report(place, connections, length, &turns, &bares))
}

fn report(place: &Place, connections: u32, length: Duration, turns: &[Turn], bares: &[Bare]) -> Report {
    let one = place.brokers() == 1;
    let mut report = Report::new(if one {
        "ingest-one-broker"
    } else {
        "ingest-three-brokers"
    });
    report
        .setting("brokers", place.brokers())
        .setting("connections", connections)
        .setting("seconds", length.as_secs())
        .setting("turns", TURNS)
        .setting("auth", "HS256")
        .setting("record bytes of the bare producer", RECORD);
    let ours = |figure: fn(&Turn) -> f64| median(turns.iter().map(figure));
    let theirs = |figure: fn(&Bare) -> f64| median(bares.iter().map(figure));
    let rate = ours(|turn| turn.run.rate());
    let p99 = ours(|turn| Latency::of(&turn.run.latency).p99);
    let (rate_target, p99_target) = if one {
        report
            .figure("posts per second", rate, "1/s", Some(">= 10100"))
            .figure("latency p99", p99, "ms", Some("<= 50"));
        (None, None)
    } else {
        (Some(">= 0.8"), Some("<= 1.25"))
    };
    let p50 = ours(|turn| Latency::of(&turn.run.latency).p50);
    let each = ours(|turn| turn.cpu.as_secs_f64() * 1e6 / turn.run.posts as f64);
    // A post that is not answered 202 has ended the run by now.
    report
        .figure("errors", 0.0, "", Some("<= 0"))
        .beside(
            "rate beside a bare producer",
            rate,
            "1/s",
            theirs(|b| b.rate),
            rate_target,
        )
        .beside(
            "p50 beside a bare producer",
            p50,
            "ms",
            theirs(|b| b.p50_ms),
            None,
        )
        .beside(
            "p99 beside a bare producer",
            p99,
            "ms",
            theirs(|b| b.p99_ms),
            p99_target,
        )
        .beside("ingest CPU per post", each, "us", theirs(|b| b.cpu_us), None);
    report
}
