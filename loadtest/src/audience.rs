//! The audience: sockets that count what they get.
//!
//! In: a server, a plan. Out: how long each frame took from its intended send time.
//! Always: a frame that does not come, or comes twice, fails the run.

use std::{
    mem,
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
    publish::{Plan, stamp_of},
    socket::Socket,
};

/// How long frames may still arrive after the last post.
const DRAIN: Duration = Duration::from_secs(20);

/// Sockets that count what they get. They end with the value.
pub struct Audience {
    received: Arc<AtomicU64>,
    latency: Arc<Mutex<Histogram<u64>>>,
    tasks: JoinSet<Result<()>>,
}

impl Audience {
    /// Connects `count` sockets to fanout's `host:port`; the nth subscribes to the plan's nth channel, counted
    /// round, as that channel's tenant.
    ///
    /// # Errors
    /// When one cannot connect or subscribe.
    pub async fn gather(host: &str, count: u32, plan: &Plan, start: Instant) -> Result<Self> {
        let received = Arc::new(AtomicU64::new(0));
        let latency = Arc::new(Mutex::new(Histogram::<u64>::new(3)?));
        let mut tasks = JoinSet::new();
        for number in 0..count as usize {
            let channel = number % plan.channels.len();
            let tenant = &plan.tenants[channel % plan.tenants.len()];
            let mut socket = Socket::open(host, "/ws", Some(&tenant.token)).await?;
            socket.subscribe(&tenant.name, &plan.channels[channel]).await?;
            let (received, latency) = (Arc::clone(&received), Arc::clone(&latency));
            tasks.spawn(async move { listen(socket, start, &received, &latency).await });
        }
        Ok(Self {
            received,
            latency,
            tasks,
        })
    }

    /// Waits until `expected` frames have come in all, and begins anew. Latencies are in microseconds.
    ///
    /// # Errors
    /// When a socket ends, and when fewer or more frames come.
    pub async fn drain(&mut self, expected: u64) -> Result<Histogram<u64>> {
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
        let mut latency = self.latency.lock().await;
        let received = self.received.swap(0, Ordering::Relaxed);
        ensure!(
            received == expected,
            "{received} frames arrived where {expected} were to come"
        );
        Ok(mem::replace(&mut latency, Histogram::new(3)?))
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
