//! The closed loop: connections that post without a pause, as wrk does it.
//!
//! In: a server's address, one request. Out: posts, time, latencies.
//! Always: the same bytes each time; anything but 202 fails the run.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::http::Connection;

/// What a closed loop measured.
#[derive(Debug)]
pub struct Loop {
    /// Posts, all answered 202.
    pub posts: u64,
    /// From the first to the last.
    pub elapsed: Duration,
    /// In microseconds.
    pub latency: Histogram<u64>,
}

impl Loop {
    /// Posts per second.
    pub fn rate(&self) -> f64 {
        self.posts as f64 / self.elapsed.as_secs_f64()
    }
}

/// Posts over `connections` for a time.
///
/// # Errors
/// When a connection fails, or an answer is not 202.
pub async fn run(host: &str, request: &[u8], connections: u32, length: Duration) -> Result<Loop> {
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (host, request) = (host.to_owned(), request.to_vec());
        clients.spawn(async move { post_until(&host, &request, begun + length).await });
    }
    let mut latency = Histogram::<u64>::new(3)?;
    while let Some(ended) = clients.join_next().await {
        latency.add(ended??)?;
    }
    Ok(Loop {
        posts: latency.len(),
        elapsed: begun.elapsed(),
        latency,
    })
}

async fn post_until(host: &str, request: &[u8], end: Instant) -> Result<Histogram<u64>> {
    let mut connection = Connection::open(host).await?;
    let mut latency = Histogram::<u64>::new(3)?;
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(latency);
        }
        let status = connection.send(request).await?;
        ensure!(
            status == 202,
            "answered {status}: {}",
            String::from_utf8_lossy(connection.body())
        );
        latency.record(sent.elapsed().as_micros() as u64)?;
    }
}
