//! Fan-out: one channel, many sockets.
//!
//! In: the binary, sockets, posts per second, seconds. Out: deliveries per second, latency from the intended
//! send time, CPU per delivery. Always: every socket must get every notification, or the run fails.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use tokio::{sync::Mutex, task::JoinSet};

use crate::{
    process,
    publish::{self, Plan, stamp_of},
    report::Report,
    server::{Server, TENANT},
    socket::Socket,
};

/// How long frames may still arrive after the last post.
const DRAIN: Duration = Duration::from_secs(20);

/// Sockets that count what they get.
pub(super) struct Audience {
    /// Frames received over all sockets.
    pub(super) received: Arc<AtomicU64>,
    latency: Arc<Mutex<Histogram<u64>>>,
    tasks: JoinSet<Result<()>>,
}

impl Audience {
    /// Connects `count` sockets; the nth subscribes to `channels[n % channels.len()]`.
    pub(super) async fn gather(
        server: &Server,
        count: u32,
        channels: &[String],
        start: Instant,
    ) -> Result<Self> {
        let received = Arc::new(AtomicU64::new(0));
        let latency = Arc::new(Mutex::new(Histogram::<u64>::new(3)?));
        let mut tasks = JoinSet::new();
        for number in 0..count as usize {
            let mut socket = Socket::open(&server.fanout, "/ws", Some(&server.token)).await?;
            socket
                .subscribe(TENANT, &channels[number % channels.len()])
                .await?;
            let (received, latency) = (Arc::clone(&received), Arc::clone(&latency));
            tasks.spawn(async move { listen(socket, start, &received, &latency).await });
        }
        Ok(Self {
            received,
            latency,
            tasks,
        })
    }

    /// Waits until `expected` frames have come in all, then lets the sockets go.
    pub(super) async fn drain(mut self, expected: u64) -> Result<Histogram<u64>> {
        let deadline = Instant::now() + DRAIN;
        while self.received.load(Ordering::Relaxed) < expected {
            if let Some(ended) = self.tasks.try_join_next() {
                ended??;
            }
            let received = self.received.load(Ordering::Relaxed);
            ensure!(
                Instant::now() < deadline,
                "{received} of {expected} frames arrived"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.tasks.abort_all();
        let latency = self.latency.lock().await.clone();
        Ok(latency)
    }
}

async fn listen(
    mut socket: Socket,
    start: Instant,
    received: &AtomicU64,
    latency: &Mutex<Histogram<u64>>,
) -> Result<()> {
    loop {
        let mut stamps = Vec::new();
        socket.receive(|text| stamps.extend(stamp_of(text))).await?;
        if stamps.is_empty() {
            continue;
        }
        let now = start.elapsed();
        let mut latency = latency.lock().await;
        for stamp in &stamps {
            latency.record(now.saturating_sub(*stamp).as_micros() as u64)?;
        }
        received.fetch_add(stamps.len() as u64, Ordering::Relaxed);
    }
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
    let server = Server::up(binary, fsync).await?;
    let channels = vec!["alerts".to_owned()];
    let start = Instant::now();
    let before = process::resident_bytes(server.pid);
    let audience = Audience::gather(&server, sockets, &channels, start).await?;
    let connected = start.elapsed();
    let memory = process::resident_bytes(server.pid).saturating_sub(before);
    let plan = Plan {
        host: server.ingest.clone(),
        token: Some(server.token.clone()),
        tenant: TENANT.to_owned(),
        channels,
        rate,
        length,
        connections: 8,
        content: 120,
    };
    let (begun, cpu) = (Instant::now(), process::cpu_time(server.pid));
    let outcome = publish::run(&plan, start).await?;
    ensure!(outcome.refused == 0, "{} posts were refused", outcome.refused);
    let expected = outcome.accepted * u64::from(sockets);
    let latency = audience.drain(expected).await?;
    let elapsed = begun.elapsed();
    let cpu = process::cpu_time(server.pid).saturating_sub(cpu);
    let mut report = Report::new("fan-out");
    report
        .setting("sockets", sockets)
        .setting("posts per second", rate);
    report
        .setting("seconds", length.as_secs())
        .setting("fsync", fsync)
        .setting("auth", "HS256");
    report
        .figure(
            "deliveries per second",
            expected as f64 / elapsed.as_secs_f64(),
            "1/s",
            None,
        )
        .figure(
            "CPU per delivery, whole process",
            cpu.as_secs_f64() * 1e6 / expected as f64,
            "us",
            None,
        )
        .figure(
            "intended send to frame p50",
            latency.value_at_quantile(0.5) as f64 / 1e3,
            "ms",
            None,
        )
        .figure(
            "intended send to frame p99",
            latency.value_at_quantile(0.99) as f64 / 1e3,
            "ms",
            None,
        )
        .figure(
            "connect and subscribe, one after another",
            connected.as_secs_f64(),
            "s",
            None,
        )
        .figure(
            "memory per session",
            memory as f64 / f64::from(sockets) / 1024.0,
            "KiB",
            Some("<= 6, later"),
        );
    Ok(report)
}
