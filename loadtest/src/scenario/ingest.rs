//! Ingest: how many single posts it takes, and what each costs it.
//!
//! In: the binary, connections, seconds. Out: posts per second, per core of ingest, against a bare handler.
//! Always: the same body each time, as wrk does it; anything but 202 fails the run.

use std::{path::Path, time::Duration};

use anyhow::Result;

use super::body;
use crate::{
    bare::BareHandler,
    closed_loop::{self, Loop},
    http::post,
    latency::Latency,
    report::Report,
    server::Server,
};

/// Posts in a closed loop over `connections`.
///
/// # Errors
/// When the server does not start or refuses a post.
pub async fn ingest(
    binary: &Path,
    bare: Option<&Path>,
    fsync: &str,
    connections: u32,
    length: Duration,
) -> Result<Report> {
    let mut server = Server::ingest_alone(binary, fsync).await?;
    let run = run(&server, connections, length).await;
    let (run, cpu) = server.judge(run)?;
    drop(server);
    let each = cpu.as_secs_f64() / run.posts as f64;
    let latency = Latency::of(&run.latency);
    let mut report = Report::new("ingest");
    report
        .setting("connections", connections)
        .setting("seconds", length.as_secs())
        .setting("fsync", fsync)
        .setting("auth", "HS256")
        .setting("broker", "embedded, own process")
        .figure("posts per second", run.rate(), "1/s", None)
        .figure(
            "posts per second and core of ingest",
            1.0 / each,
            "1/s",
            Some(">= 15000"),
        )
        .figure("latency p50", latency.p50, "ms", None)
        .figure("latency p99", latency.p99, "ms", None);
    let Some(bare) = bare else {
        report.figure("ingest CPU per post", each * 1e6, "us", None);
        return Ok(report);
    };
    let handler = BareHandler::start(bare).await?;
    let request = post(&handler.listen, "/v1/notifications", None, &body());
    let run = closed_loop::run(&handler.listen, &request, connections, length).await?;
    let floor = handler.cpu().as_secs_f64() / run.posts as f64;
    report.beside("ingest CPU per post", each * 1e6, "us", floor * 1e6, None);
    Ok(report)
}

async fn run(server: &Server, connections: u32, length: Duration) -> Result<(Loop, Duration)> {
    let request = post(&server.ingest, "/v1/notifications", Some(&server.token), &body());
    closed_loop::run(&server.ingest, &request, connections, length / 5).await?;
    let cpu = server.cpu();
    let run = closed_loop::run(&server.ingest, &request, connections, length).await?;
    Ok((run, server.cpu().saturating_sub(cpu)))
}
