//! The whole way of notifications through a running server: POST to frame at a fixed rate.
//!
//! In: a server, a rate. Out: latency from the intended send time, processor time of each process.
//! Always: each notification goes to exactly one socket, and every accepted one must arrive.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    audience::Audience,
    latency::Latency,
    process::{ThreadTimes, spent},
    publish::{self, Outcome, Plan},
    report::Report,
    server::Server,
};

/// Channels, with one socket each.
pub(super) const CHANNELS: u32 = 100;
/// Connections that share the posts.
const CONNECTIONS: u32 = 32;
/// Threads whose use is reported.
const SHOWN_THREADS: usize = 8;

/// What is put on the server.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Posts per second.
    pub rate: u32,
    /// Tenants that share them. One has one partition; many spread.
    pub tenants: u32,
    /// How long is measured.
    pub length: Duration,
    /// What goes before: caches, connections and compilers warm up.
    pub warm_up: Duration,
}

/// What a run measured.
pub(super) struct WholeWay {
    pub(super) outcome: Outcome,
    pub(super) latency: Latency,
    /// Processor time of each measured process.
    pub(super) cpu: Vec<(String, Duration)>,
    /// The same of their threads.
    threads: ThreadTimes,
}

impl WholeWay {
    /// Publishes at the rate for the length, after the warm-up.
    pub(super) async fn run(server: &Server, load: Load) -> Result<Self> {
        let mut plan = Plan {
            host: server.ingest.clone(),
            tenants: server.tenants(load.tenants).await?,
            channels: (0..CHANNELS).map(|n| format!("c{n}")).collect(),
            rate: load.rate,
            length: load.warm_up,
            connections: CONNECTIONS,
            content: 120,
        };
        let start = Instant::now();
        let mut audience = Audience::gather(&server.fanout, CHANNELS, &plan, start).await?;
        let warm = publish::run(&plan, start).await?.unrefused()?;
        audience.drain(warm.accepted).await?;
        plan.length = load.length;
        let (before, threads) = (server.cpu_each(), server.thread_times());
        let outcome = publish::run(&plan, start).await?.unrefused()?;
        let latency = audience.drain(outcome.accepted).await?;
        let cpu = server.cpu_each().into_iter().zip(before);
        Ok(Self {
            outcome,
            latency: Latency::of(&latency),
            cpu: cpu
                .map(|((name, after), (_, before))| (name, after.saturating_sub(before)))
                .collect(),
            threads: spent(&threads, server.thread_times()),
        })
    }

    /// Microseconds of processor time per notification of all measured processes.
    pub(super) fn cpu_each(&self) -> f64 {
        self.cpu.iter().map(|(_, cpu)| self.each(*cpu)).sum()
    }

    /// Microseconds per notification.
    pub(super) fn each(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.outcome.accepted as f64
    }

    /// Adds what the threads that used most cost each notification.
    pub(super) fn by_thread(&self, report: &mut Report) {
        let mut threads: Vec<_> = self.threads.iter().collect();
        threads.sort_by_key(|(_, time)| Reverse(*time));
        for (name, time) in threads.into_iter().take(SHOWN_THREADS) {
            report.figure(&format!("CPU of {name}"), self.each(*time), "us", None);
        }
    }

    /// Notes the settings that every run of this kind has.
    pub(super) fn settings(report: &mut Report, load: Load) {
        report
            .setting("posts per second", load.rate)
            .setting("tenants", load.tenants)
            .setting("seconds", load.length.as_secs())
            .setting("warm-up seconds", load.warm_up.as_secs_f64())
            .setting("channels", CHANNELS)
            .setting("sockets", CHANNELS)
            .setting("auth", "HS256");
    }

    /// Adds what does not belong to the server: the share of the generator's timer, and posts that it gave
    /// up.
    pub(super) fn generator(&self, report: &mut Report) {
        let late = |quantile| self.outcome.late.value_at_quantile(quantile) as f64 / 1e6;
        report
            .figure("of which the generator's timer p50", late(0.5), "ms", None)
            .figure("of which the generator's timer p99", late(0.99), "ms", None);
        if self.outcome.unsent > 0 {
            report.figure(
                "posts given up, 10 s late",
                self.outcome.unsent as f64,
                "",
                Some("<= 0"),
            );
        }
    }
}
