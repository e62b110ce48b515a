//! Fairness: what two quiet tenants feel of a noisy one, in five shapes.
//!
//! In: `--seconds N --count N --fsync each|interval`, on the embedded broker and SQLite. Out: the victims' latency
//! from the moment at which a notification was to be sent to its delivery's arrival at a reader, p50 and p99, alone
//! and beside each shape, in one table. Always: open loop; the real router; a notification that never came counts
//! with the time that it was waited for.

#[allow(dead_code, reason = "the figures of the full path are not asked for here")]
#[path = "full_path/servers.rs"]
mod servers;
#[path = "fairness/shapes.rs"]
mod shapes;

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_bus::{Admin, BusConfig, Producer, Record, SendError, Tail, TailOptions};
use carillon_chassis::{clock::Clock, metrics::Metrics, readiness::Readiness, tasks::Tasks};
use carillon_loadtest::report::Report;
use carillon_router::{Router, RouterConfig, RouterDeps};
use carillon_schemas::headers;
use servers::Servers;
use shapes::{AGGRESSOR, LIMITED, Shape, VICTIMS};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// One notification of each victim.
const EVERY: Duration = Duration::from_millis(10);
/// How long a victim's last notifications are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an aggressor's backlog may take.
const DRAIN: Duration = Duration::from_secs(180);

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        args.iter()
            .position(|a| a == name)
            .and_then(|at| args.get(at + 1))
    };
    let number = |name: &str, or: u64| value(name).and_then(|v| v.parse().ok()).unwrap_or(or);
    let seconds = number("--seconds", 8);
    let count = number("--count", 150_000);
    let fsync = value("--fsync").is_some_and(|v| v == "each");
    let roles = runtime("router")?;
    let load = runtime("load")?;
    let servers = Servers::start(&roles, fsync)?;
    let stage = roles.block_on(Stage::start(&servers))?;
    load.block_on(measure(
        &stage,
        &servers,
        count,
        Duration::from_secs(seconds),
        seconds,
    ))?;
    roles.block_on(stage.stop())?;
    servers.stop(&roles)
}

fn runtime(name: &str) -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()?)
}

/// A running router.
struct Stage {
    metrics: Metrics,
    tasks: Tasks,
    stop: CancellationToken,
    bus: BusConfig,
}

impl Stage {
    async fn start(servers: &Servers) -> Outcome<Self> {
        let (metrics, tasks) = (Metrics::new(), Tasks::new());
        let bus = servers.bus.clone();
        Admin::new(&bus, &metrics)?
            .apply(&bus.topics.all(&servers.layout))
            .await?;
        let mut config = RouterConfig::new(format!("{}router", bus.topics.notifications), "bench");
        config.shards = servers.layout.shards;
        let limited = (AGGRESSOR.parse()?, LIMITED.parse()?);
        config.channel_limits.insert(limited, 10);
        let deps = RouterDeps {
            bus: bus.clone(),
            metrics: metrics.clone(),
            readiness: Readiness::default(),
            clock: Clock::system(),
            store: Arc::clone(&servers.store),
            tasks: tasks.clone(),
        };
        let (router, stop) = (Router::new(config, deps)?, CancellationToken::new());
        let token = stop.clone();
        tasks.spawn("router", async move {
            let _ended = router.run(token).await;
        });
        Ok(Self {
            metrics,
            tasks,
            stop,
            bus,
        })
    }

    fn finished(&self) -> u64 {
        self.metrics.counter("carillon_router_finished_total", "").get()
    }

    async fn stop(self) -> Outcome<()> {
        self.stop.cancel();
        self.tasks.close(Duration::from_secs(20)).await;
        Ok(())
    }
}

/// What the victims felt, in milliseconds.
struct Felt {
    p50: [f64; 2],
    p99: [f64; 2],
}

async fn measure(
    stage: &Stage,
    servers: &Servers,
    count: u64,
    window: Duration,
    seconds: u64,
) -> Outcome<()> {
    let (metrics, tasks) = (Metrics::new(), Tasks::new());
    let producer = Producer::new(&stage.bus, &metrics, &tasks)?;
    let from = (0..i32::from(servers.layout.shards)).map(|shard| (shard, 0));
    let options = TailOptions::default();
    let topic = &stage.bus.topics.deliveries;
    let (tail, mut deliveries) = Tail::start(&stage.bus, topic, from.collect(), options, &metrics, &tasks)?;
    let mut run = Run {
        producer,
        began: Instant::now(),
        number: 0,
    };
    // The first ones wait for connections and the group.
    run.victims(stage, &mut deliveries, Duration::from_secs(4))
        .await?;
    let alone = run.victims(stage, &mut deliveries, window).await?;
    let mut report = Report::new("fairness");
    report
        .setting("seconds", seconds)
        .setting("aggressor", count)
        .setting("victims", "100/s each");
    for (name, value) in &servers.settings {
        report.setting(name, value);
    }
    for (victim, (name, _)) in VICTIMS.iter().enumerate() {
        report.figure(&format!("{name}, alone: p50"), alone.p50[victim], "ms", None);
        report.figure(&format!("{name}, alone: p99"), alone.p99[victim], "ms", None);
    }
    for shape in Shape::ALL {
        let before = stage.finished();
        run.aggress(stage, shape, count).await?;
        let felt = run.victims(stage, &mut deliveries, window).await?;
        for (victim, (name, _)) in VICTIMS.iter().enumerate() {
            let target = format!(
                "<= {:.1}",
                (alone.p99[victim] * 1.5).min(alone.p99[victim] + 50.0)
            );
            report.figure(
                &format!("{name}, {}: p50", shape.name()),
                felt.p50[victim],
                "ms",
                None,
            );
            report.figure(
                &format!("{name}, {}: p99", shape.name()),
                felt.p99[victim],
                "ms",
                Some(&target),
            );
        }
        run.drain(stage, before + shape.records(count)).await?;
    }
    report.finish()?;
    tail.close(Duration::from_secs(5)).await?;
    tasks.close(Duration::from_secs(10)).await;
    Ok(())
}

struct Run {
    producer: Producer,
    began: Instant,
    number: u64,
}

impl Run {
    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// The aggressor's backlog, all at once.
    async fn aggress(&self, stage: &Stage, shape: Shape, count: u64) -> Outcome<()> {
        let now_ms = Clock::system().unix_ms();
        for n in 0..shape.records(count) {
            let record = shape.record(&stage.bus, n, now_ms);
            while let Err(SendError::QueueFull) = self.producer.send(record.clone()).map(drop) {
                self.producer.flush(Duration::from_secs(30)).await?;
            }
        }
        self.producer.flush(Duration::from_secs(60)).await?;
        if shape == Shape::RetryStorm {
            // The storm begins when its first records are due.
            let due = Duration::from_millis((now_ms + 4_800).saturating_sub(Clock::system().unix_ms()));
            tokio::time::sleep(due).await;
        }
        Ok(())
    }

    /// Sends for both victims at their rate, and takes their deliveries.
    async fn victims(
        &mut self,
        stage: &Stage,
        deliveries: &mut mpsc::Receiver<Vec<Record>>,
        window: Duration,
    ) -> Outcome<Felt> {
        let mut waits: [Vec<u64>; 2] = Default::default();
        let first = self.now_us();
        let (mut next, mut sent) = (first, 0usize);
        let end = first + window.as_micros() as u64;
        let patience = end + PATIENCE.as_micros() as u64;
        while self.now_us() < patience && (next < end || waits.iter().any(|w| w.len() < sent)) {
            let due = self.began + Duration::from_micros(if next < end { next } else { patience });
            tokio::select! {
                records = deliveries.recv() => {
                    let records = records.ok_or("the reader ended")?;
                    self.take(&records, first, &mut waits);
                }
                () = tokio::time::sleep_until(due.into()), if next < end => {
                    for victim in 0..VICTIMS.len() {
                        let record = shapes::quiet(&stage.bus, victim, self.number, next);
                        drop(self.producer.send(record)?);
                    }
                    self.number += 1;
                    sent += 1;
                    next += EVERY.as_micros() as u64;
                }
                () = tokio::time::sleep_until(due.into()), if next >= end => {}
            }
        }
        let lost = self.now_us();
        Ok(felt(waits, sent, lost - first))
    }

    fn take(&self, records: &[Record], first: u64, waits: &mut [Vec<u64>; 2]) {
        let now = self.now_us();
        for record in records {
            let tenant = record.headers.text(headers::TENANT);
            let victim = VICTIMS.iter().position(|(name, _)| Some(*name) == tenant);
            let at = record.value.as_ref().and_then(|value| shapes::sent_at(value));
            if let (Some(victim), Some(at)) = (victim, at)
                && at >= first
            {
                waits[victim].push(now - at);
            }
        }
    }

    /// Until the router has finished so many records.
    async fn drain(&self, stage: &Stage, finished: u64) -> Outcome<()> {
        let begun = Instant::now();
        while stage.finished() < finished {
            if begun.elapsed() > DRAIN {
                return Err(format!("{} of {finished} after {DRAIN:?}", stage.finished()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

fn felt(mut waits: [Vec<u64>; 2], sent: usize, lost: u64) -> Felt {
    let mut felt = Felt {
        p50: [0.0; 2],
        p99: [0.0; 2],
    };
    for (victim, waits) in waits.iter_mut().enumerate() {
        waits.resize(waits.len().max(sent), lost);
        waits.sort_unstable();
        let at = |quantile: f64| waits.get((waits.len() as f64 * quantile) as usize).copied();
        felt.p50[victim] = at(0.5).unwrap_or(0) as f64 / 1e3;
        felt.p99[victim] = at(0.99).unwrap_or(0) as f64 / 1e3;
    }
    felt
}
