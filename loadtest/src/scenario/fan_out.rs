//! Fan-out: one channel, many sockets.
//!
//! In: the binary, sockets, posts per second, seconds. Out: deliveries per second, latency from the intended
//! send time, CPU per delivery. Always: every socket must get every notification, or the run fails.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    audience::Audience,
    latency::Latency,
    publish::{self, Plan},
    report::Report,
    server::Server,
};

/// What a run measured.
struct FanOut {
    deliveries: u64,
    elapsed: Duration,
    cpu: Duration,
    latency: Latency,
    connected: Duration,
    /// Of all sessions, in bytes.
    memory: u64,
}

/// Publishes `rate` notifications per second to `sockets` sockets on one channel.
///
/// # Errors
/// When the server does not start, or a frame does not arrive.
pub async fn fan_out(
    binary: &Path,
    fsync: &str,
    sockets: u32,
    rate: u32,
    length: Duration,
) -> Result<Report> {
    let mut server = Server::up(binary, fsync).await?;
    let run = run(&server, sockets, rate, length).await;
    let run = server.judge(run)?;
    let mut report = Report::new("fan-out");
    report
        .setting("sockets", sockets)
        .setting("posts per second", rate)
        .setting("seconds", length.as_secs())
        .setting("fsync", fsync)
        .setting("auth", "HS256");
    let deliveries = run.deliveries as f64;
    let rate = deliveries / run.elapsed.as_secs_f64();
    let each = run.cpu.as_secs_f64() * 1e6 / deliveries;
    let memory = run.memory as f64 / f64::from(sockets) / 1024.0;
    let connected = run.connected.as_secs_f64();
    report
        .figure("deliveries per second", rate, "1/s", None)
        .figure("CPU per delivery, whole process", each, "us", None)
        .figure("intended send to frame p50", run.latency.p50, "ms", None)
        .figure("intended send to frame p99", run.latency.p99, "ms", None)
        .figure("connect and subscribe, one after another", connected, "s", None)
        .figure("memory per session", memory, "KiB", Some("<= 6, later"));
    Ok(report)
}

async fn run(server: &Server, sockets: u32, rate: u32, length: Duration) -> Result<FanOut> {
    let plan = Plan {
        host: server.ingest.clone(),
        tenants: server.tenants(1).await?,
        channels: vec!["alerts".to_owned()],
        rate,
        length,
        connections: 8,
        content: 120,
    };
    let start = Instant::now();
    let before = server.resident();
    let mut audience = Audience::gather(&server.fanout, sockets, &plan, start).await?;
    let connected = start.elapsed();
    let memory = server.resident().saturating_sub(before);
    let (begun, cpu) = (Instant::now(), server.cpu());
    let outcome = publish::run(&plan, start).await?.unrefused()?;
    let deliveries = outcome.accepted * u64::from(sockets);
    let latency = audience.drain(deliveries).await?;
    Ok(FanOut {
        deliveries,
        elapsed: begun.elapsed(),
        cpu: server.cpu().saturating_sub(cpu),
        latency: Latency::of(&latency),
        connected,
        memory,
    })
}
