//! Publishing at a rate that does not wait for answers (open loop).
//!
//! In: a rate, a duration, a pool of connections. Out: posts, each carrying its intended send time.
//! Always: a post that starts late still carries the time at which it should have started, so that a stall
//! of the server shows in the latencies instead of hiding them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::http::{Connection, post};

/// What the text of a measured notification begins with; nanoseconds since the run's start follow.
pub const STAMP: &str = "t=";

/// An open-loop run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// `host:port` of ingest.
    pub host: String,
    /// Bearer token.
    pub token: Option<String>,
    /// Tenant that the bodies name.
    pub tenant: String,
    /// Channels, used in turn.
    pub channels: Vec<String>,
    /// Posts per second over all connections.
    pub rate: u32,
    /// How long.
    pub length: Duration,
    /// Connections that share the posts.
    pub connections: u32,
    /// Length of the content in bytes.
    pub content: usize,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Posts answered 202.
    pub accepted: u64,
    /// Posts answered otherwise.
    pub refused: u64,
}

/// Runs the plan; `start` is the moment that the stamps count from.
///
/// # Errors
/// When a connection fails.
pub async fn run(plan: &Plan, start: Instant) -> Result<Outcome> {
    let accepted = Arc::new(AtomicU64::new(0));
    let refused = Arc::new(AtomicU64::new(0));
    let mut publishers = tokio::task::JoinSet::new();
    for number in 0..plan.connections {
        let plan = plan.clone();
        let (accepted, refused) = (Arc::clone(&accepted), Arc::clone(&refused));
        publishers.spawn(async move { publish(&plan, number, start, &accepted, &refused).await });
    }
    while let Some(ended) = publishers.join_next().await {
        ended??;
    }
    Ok(Outcome {
        accepted: accepted.load(Ordering::Relaxed),
        refused: refused.load(Ordering::Relaxed),
    })
}

async fn publish(
    plan: &Plan,
    number: u32,
    start: Instant,
    accepted: &AtomicU64,
    refused: &AtomicU64,
) -> Result<()> {
    ensure!(
        plan.rate > 0 && plan.connections > 0,
        "rate and connections must be at least 1"
    );
    let mut connection = Connection::open(&plan.host).await?;
    let begun = Instant::now();
    let interval = Duration::from_secs(1) / plan.rate;
    let mut nth = number;
    loop {
        let due = begun + interval * nth;
        if due.duration_since(begun) >= plan.length {
            return Ok(());
        }
        tokio::time::sleep_until(due.into()).await;
        let channel = &plan.channels[nth as usize % plan.channels.len()];
        let request = request(plan, channel, due.duration_since(start));
        let counter = if connection.send(&request).await? == 202 {
            accepted
        } else {
            refused
        };
        counter.fetch_add(1, Ordering::Relaxed);
        nth += plan.connections;
    }
}

fn request(plan: &Plan, channel: &str, stamp: Duration) -> Vec<u8> {
    let stamp = format!("{STAMP}{} ", stamp.as_nanos());
    let padding = "x".repeat(plan.content.saturating_sub(stamp.len()));
    let tenant = &plan.tenant;
    let body = format!(r#"{{"tenant_id":"{tenant}","channel":"{channel}","content":"{stamp}{padding}"}}"#);
    post(&plan.host, "/v1/notifications", plan.token.as_deref(), &body)
}

/// The stamp inside a frame's content, since the run's start.
pub fn stamp_of(frame: &str) -> Option<Duration> {
    let (_, rest) = frame.split_once(STAMP)?;
    let (nanos, _) = rest.split_once(' ')?;
    nanos.parse().ok().map(Duration::from_nanos)
}
