//! Ingest: how many single posts it takes, and what each costs it.
//!
//! In: the binary, connections, seconds. Out: posts per second, per core of ingest, against a bare handler.
//! Always: the same body each time, as wrk does it; anything but 202 fails the run.

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
use tokio::sync::Mutex;

use crate::{
    http::{Connection, post},
    process,
    report::Report,
    server::{Server, TENANT},
};

/// What a closed loop measured.
struct Loop {
    requests: u64,
    elapsed: Duration,
    cpu: Duration,
    latency: Histogram<u64>,
}

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
    let server = Server::ingest_alone(binary, fsync).await?;
    let body = format!(
        r#"{{"tenant_id":"{TENANT}","user_id":"u1","channel":"alerts","content":"{}"}}"#,
        "disk almost full on db-1, 93 percent used ".repeat(3)
    );
    let request = post(&server.ingest, "/v1/notifications", Some(&server.token), &body);
    closed_loop(&server.ingest, server.pid, &request, connections, length / 5).await?;
    let run = closed_loop(&server.ingest, server.pid, &request, connections, length).await?;
    let per_post = run.cpu.as_secs_f64() / run.requests as f64;
    let mut report = Report::new("ingest");
    report
        .setting("connections", connections)
        .setting("seconds", length.as_secs())
        .setting("fsync", fsync);
    report
        .setting("auth", "HS256")
        .setting("broker", "embedded, own process");
    report
        .figure(
            "posts per second",
            run.requests as f64 / run.elapsed.as_secs_f64(),
            "1/s",
            None,
        )
        .figure(
            "posts per second and core of ingest",
            1.0 / per_post,
            "1/s",
            Some(">= 15000"),
        )
        .figure("ingest CPU per post", per_post * 1e6, "us", None)
        .figure(
            "latency p50",
            run.latency.value_at_quantile(0.5) as f64 / 1e3,
            "ms",
            None,
        )
        .figure(
            "latency p99",
            run.latency.value_at_quantile(0.99) as f64 / 1e3,
            "ms",
            None,
        );
    drop(server);
    if let Some(bare) = bare {
        let floor = bare_handler(bare, &body, connections, length).await?;
        report.figure("bare handler CPU per post", floor * 1e6, "us", None);
        report.figure("ingest : bare handler", per_post / floor, "x", None);
    }
    Ok(report)
}

async fn closed_loop(
    host: &str,
    pid: u32,
    request: &[u8],
    connections: u32,
    length: Duration,
) -> Result<Loop> {
    let requests = Arc::new(AtomicU64::new(0));
    let latency = Arc::new(Mutex::new(Histogram::<u64>::new(3)?));
    let (begun, cpu) = (Instant::now(), process::cpu_time(pid));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (host, request) = (host.to_owned(), request.to_vec());
        let (requests, latency) = (Arc::clone(&requests), Arc::clone(&latency));
        clients.spawn(async move {
            let mut connection = Connection::open(&host).await?;
            let mut own = Histogram::<u64>::new(3)?;
            while begun.elapsed() < length {
                let sent = Instant::now();
                let status = connection.send(&request).await?;
                ensure!(
                    status == 202,
                    "answered {status}: {}",
                    String::from_utf8_lossy(connection.body())
                );
                own.record(sent.elapsed().as_micros() as u64)?;
            }
            requests.fetch_add(own.len(), Ordering::Relaxed);
            latency.lock().await.add(own)?;
            Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    let cpu = process::cpu_time(pid).saturating_sub(cpu);
    let latency = latency.lock().await.clone();
    Ok(Loop {
        requests: requests.load(Ordering::Relaxed),
        elapsed: begun.elapsed(),
        cpu,
        latency,
    })
}

/// CPU seconds per post of a handler that only parses the same JSON.
async fn bare_handler(binary: &Path, body: &str, connections: u32, length: Duration) -> Result<f64> {
    let listen = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .to_string();
    let mut child = tokio::process::Command::new(binary)
        .arg(&listen)
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().unwrap_or(0);
    while Connection::open(&listen).await.is_err() {
        ensure!(child.try_wait()?.is_none(), "the bare handler ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let request = post(&listen, "/v1/notifications", None, body);
    let run = closed_loop(&listen, pid, &request, connections, length).await?;
    child.kill().await?;
    Ok(run.cpu.as_secs_f64() / run.requests as f64)
}
