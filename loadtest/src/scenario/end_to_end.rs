//! The whole way in one process: `carillon up`.
//!
//! In: the binary, posts per second, seconds. Out: latency and CPU per notification of the whole process.
//! Always: each notification goes to exactly one socket, and every one must arrive.

use std::path::Path;

use anyhow::Result;

use super::whole_way::{Load, WholeWay};
use crate::{report::Report, server::Server};

/// Publishes over 100 channels with one socket each.
///
/// # Errors
/// When the server does not start, or a frame does not arrive.
pub async fn end_to_end(binary: &Path, fsync: &str, load: Load) -> Result<Report> {
    let mut server = Server::up(binary, fsync).await?;
    let run = WholeWay::run(&server, load).await;
    let run = server.judge(run)?;
    let (p50, p99) = if fsync == "interval" {
        ("<= 2", "<= 5")
    } else {
        ("<= 3", "<= 10")
    };
    let mut report = Report::new(&format!("post-to-frame-fsync-{fsync}"));
    WholeWay::settings(&mut report, load);
    report
        .setting("fsync", fsync)
        .figure("intended send to frame p50", run.latency.p50, "ms", Some(p50))
        .figure("intended send to frame p99", run.latency.p99, "ms", Some(p99))
        .figure("intended send to frame max", run.latency.max, "ms", None);
    run.generator(&mut report);
    report.figure(
        "CPU per notification, whole process",
        run.cpu_each(),
        "us",
        Some("<= 700"),
    );
    run.by_thread(&mut report);
    Ok(report)
}
