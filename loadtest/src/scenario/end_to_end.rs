//! The whole way: POST to frame, from the intended send time.
//!
//! In: the binary, posts per second, seconds. Out: latency and CPU per notification of the whole process.
//! Always: each notification goes to exactly one socket, and every one must arrive.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::fan_out::Audience;
use crate::{
    process,
    publish::{self, Plan},
    report::Report,
    server::{Server, TENANT},
};

/// Publishes `rate` notifications per second over 100 channels with one socket each.
///
/// # Errors
/// When the server does not start, or a frame does not arrive.
pub async fn end_to_end(binary: &Path, fsync: &str, rate: u32, length: Duration) -> Result<Report> {
    let server = Server::up(binary, fsync).await?;
    let channels: Vec<String> = (0..100).map(|n| format!("c{n}")).collect();
    let start = Instant::now();
    let audience = Audience::gather(&server, 100, &channels, start).await?;
    let plan = Plan {
        host: server.ingest.clone(),
        token: Some(server.token.clone()),
        tenant: TENANT.to_owned(),
        channels,
        rate,
        length,
        connections: 32,
        content: 120,
    };
    let cpu = process::cpu_time(server.pid);
    let outcome = publish::run(&plan, start).await?;
    ensure!(outcome.refused == 0, "{} posts were refused", outcome.refused);
    let latency = audience.drain(outcome.accepted).await?;
    let cpu = process::cpu_time(server.pid).saturating_sub(cpu);
    let (p50, p99) = if fsync == "interval" {
        ("<= 2", "<= 5")
    } else {
        ("<= 3", "<= 10")
    };
    let mut report = Report::new(&format!("post-to-frame-fsync-{fsync}"));
    report
        .setting("posts per second", rate)
        .setting("seconds", length.as_secs())
        .setting("fsync", fsync);
    report
        .setting("channels", 100)
        .setting("sockets", 100)
        .setting("auth", "HS256");
    report
        .figure(
            "intended send to frame p50",
            latency.value_at_quantile(0.5) as f64 / 1e3,
            "ms",
            Some(p50),
        )
        .figure(
            "intended send to frame p99",
            latency.value_at_quantile(0.99) as f64 / 1e3,
            "ms",
            Some(p99),
        )
        .figure(
            "intended send to frame max",
            latency.max() as f64 / 1e3,
            "ms",
            None,
        )
        .figure(
            "CPU per notification, whole process",
            cpu.as_secs_f64() * 1e6 / outcome.accepted as f64,
            "us",
            Some("<= 700"),
        );
    Ok(report)
}
