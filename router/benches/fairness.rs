//! Fairness: what two quiet tenants feel of a noisy one, in five shapes.
//!
//! In: `--seconds N --times N --backlog N --fsync each|interval`, on the embedded broker and SQLite. Out: the victims'
//! latency from the moment at which a notification was to be sent to its delivery's arrival at a reader, p50 and p99:
//! alone, beside a tenant that sends N times as much as a victim all the time, and beside N records that were all
//! there at once; in one table. `apart` is what they feel when that tenant has an installation of its own, with its own
//! broker, router and store, on the same machine: what is felt then, no router could spare them. `--only` names a
//! shape. Always: open loop; the real router; a notification that never came counts with the time that it was waited
//! for.

#[allow(dead_code, reason = "the figures of the full path are not asked for here")]
#[path = "full_path/servers.rs"]
mod servers;
#[path = "fairness/shapes.rs"]
mod shapes;

use std::{
    error::Error,
    ops::Range,
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
/// How often the aggressor sends what is due of it.
const BEAT: Duration = Duration::from_millis(1);
/// How long an aggressor goes on before the victims are looked at: the first tier of the ladder, and more.
const LEAD_IN: Duration = Duration::from_secs(6);
/// How long a victim's last notifications are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an aggressor's backlog may take.
const DRAIN: Duration = Duration::from_secs(180);
/// Numbers of a backlog begin here: none of it has the id of another record.
const ELSE: u64 = 1 << 40;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        args.iter()
            .position(|a| a == name)
            .and_then(|at| args.get(at + 1))
    };
    let number = |name: &str, or: u64| value(name).and_then(|v| v.parse().ok()).unwrap_or(or);
    let seconds = number("--seconds", 8);
    let (times, backlog) = (number("--times", 100), number("--backlog", 150_000));
    let fsync = value("--fsync").is_some_and(|v| v == "each");
    let roles = runtime("router")?;
    let load = runtime("load")?;
    let servers = Servers::start(&roles, fsync)?;
    let stage = roles.block_on(Stage::start(&servers))?;
    let far_roles = runtime("far-router")?;
    let far_servers = Servers::start(&far_roles, fsync)?;
    let far = far_roles.block_on(Stage::start(&far_servers))?;
    let only = value("--only").map_or("", String::as_str);
    let stages = [&stage, &far];
    load.block_on(measure(stages, &servers, (times, backlog), seconds, only))?;
    far_roles.block_on(far.stop())?;
    far_servers.stop(&far_roles)?;
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

    /// Until the router has finished so many records.
    async fn drain(&self, finished: u64) -> Outcome<()> {
        let begun = Instant::now();
        while self.finished() < finished {
            if begun.elapsed() > DRAIN {
                return Err(format!("{} of {finished} after {DRAIN:?}", self.finished()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
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
    [stage, far]: [&Stage; 2],
    servers: &Servers,
    (times, backlog): (u64, u64),
    seconds: u64,
    only: &str,
) -> Outcome<()> {
    let shapes = || Shape::ALL.into_iter().filter(|shape| shape.name().contains(only));
    let (metrics, tasks) = (Metrics::new(), Tasks::new());
    let from: Vec<_> = (0..i32::from(servers.layout.shards))
        .map(|shard| (shard, 0))
        .collect();
    let options = TailOptions::default();
    let topic = &stage.bus.topics.deliveries;
    let (tail, deliveries) = Tail::start(&stage.bus, topic, from.clone(), options.clone(), &metrics, &tasks)?;
    // Somebody reads there too.
    let (far_tail, mut far_deliveries) = Tail::start(&far.bus, topic, from, options, &metrics, &tasks)?;
    tasks.spawn(
        "far",
        async move { while far_deliveries.recv().await.is_some() {} },
    );
    let mut run = Run {
        near: Producer::new(&stage.bus, &metrics, &tasks)?,
        far: Producer::new(&far.bus, &metrics, &tasks)?,
        deliveries,
        topic: stage.bus.topics.notifications.clone(),
        began: Instant::now(),
        number: 0,
    };
    let mut report = Report::new("fairness");
    report
        .setting("seconds", seconds)
        .setting("victims", "100/s each")
        .setting("aggressor", format!("{times} times a victim"))
        .setting("backlog", backlog);
    for (name, value) in &servers.settings {
        report.setting(name, value);
    }
    let window = Duration::from_secs(seconds);
    // The first ones wait for connections and the group.
    run.victims(Duration::from_secs(4)).await?;
    let alone = run.victims(window).await?;
    show(&mut report, "alone", &alone, None);
    for shape in shapes() {
        let felt = run.beside(stage, shape, times, window).await?;
        show(&mut report, shape.name(), &felt, Some(&alone));
        let felt = run.apart_from(far, shape, times, window).await?;
        show(&mut report, &format!("{}, apart", shape.name()), &felt, None);
    }
    for shape in shapes() {
        let felt = run.beside_backlog(stage, shape, backlog, window).await?;
        show(&mut report, &format!("backlog: {}", shape.name()), &felt, None);
    }
    report.finish()?;
    tail.close(Duration::from_secs(5)).await?;
    far_tail.close(Duration::from_secs(5)).await?;
    tasks.close(Duration::from_secs(10)).await;
    Ok(())
}

/// Puts what the victims felt into the table; beside what they feel alone, the p99 has a target.
fn show(report: &mut Report, beside: &str, felt: &Felt, alone: Option<&Felt>) {
    for (victim, (name, _)) in VICTIMS.iter().enumerate() {
        let target = alone.map(|alone| {
            let alone = alone.p99[victim];
            format!("<= {:.1}", (alone * 1.5).min(alone + 50.0))
        });
        let (p50, p99) = (felt.p50[victim], felt.p99[victim]);
        report.figure(&format!("{name}, {beside}: p50"), p50, "ms", None);
        report.figure(&format!("{name}, {beside}: p99"), p99, "ms", target.as_deref());
    }
}

/// Sends what is due of an aggressor until it is stopped. Gives how many records that were.
async fn noise(
    producer: &Producer,
    bus: &BusConfig,
    shape: Shape,
    times: u64,
    stop: &CancellationToken,
) -> Outcome<u64> {
    let (began, mut beat, mut sent) = (Instant::now(), tokio::time::interval(BEAT), 0);
    while !stop.is_cancelled() {
        beat.tick().await;
        let due = shape.records(began.elapsed().as_micros() as u64 * times / EVERY.as_micros() as u64);
        send(producer, bus, shape, sent..due).await?;
        sent = due;
    }
    producer.flush(Duration::from_secs(30)).await?;
    Ok(sent)
}

async fn send(producer: &Producer, bus: &BusConfig, shape: Shape, which: Range<u64>) -> Outcome<()> {
    let now_ms = Clock::system().unix_ms();
    for n in which {
        let record = shape.record(bus, n, now_ms);
        while let Err(SendError::QueueFull) = producer.send(record.clone()).map(drop) {
            producer.flush(Duration::from_secs(30)).await?;
        }
    }
    Ok(())
}

struct Run {
    near: Producer,
    /// To the installation that the victims are not in.
    far: Producer,
    deliveries: mpsc::Receiver<Vec<Record>>,
    /// Of notifications.
    topic: String,
    began: Instant,
    number: u64,
}

impl Run {
    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// What the victims feel of somebody who sends so many times as much as one of them.
    async fn beside(&mut self, stage: &Stage, shape: Shape, times: u64, window: Duration) -> Outcome<Felt> {
        let (finished, before) = (stage.finished(), self.number);
        let (sent, felt) = self
            .under(&self.near.clone(), stage, shape, times, window)
            .await?;
        let quiet = (self.number - before) * VICTIMS.len() as u64;
        stage.drain(finished + sent + quiet).await?;
        Ok(felt)
    }

    /// The same of somebody in an installation of its own.
    async fn apart_from(&mut self, far: &Stage, shape: Shape, times: u64, window: Duration) -> Outcome<Felt> {
        let finished = far.finished();
        let (sent, felt) = self.under(&self.far.clone(), far, shape, times, window).await?;
        far.drain(finished + sent).await?;
        Ok(felt)
    }

    async fn under(
        &mut self,
        producer: &Producer,
        noisy: &Stage,
        shape: Shape,
        times: u64,
        window: Duration,
    ) -> Outcome<(u64, Felt)> {
        let stop = CancellationToken::new();
        let victims = async {
            self.victims(LEAD_IN).await?;
            let felt = self.victims(window).await;
            stop.cancel();
            felt
        };
        Ok(tokio::try_join!(
            noise(producer, &noisy.bus, shape, times, &stop),
            victims
        )?)
    }

    /// What they feel of so many records that were all there at once.
    async fn beside_backlog(
        &mut self,
        stage: &Stage,
        shape: Shape,
        count: u64,
        window: Duration,
    ) -> Outcome<Felt> {
        let (finished, before) = (stage.finished(), self.number);
        let due = Instant::now() + Duration::from_millis(4_800);
        let records = shape.records(count);
        send(&self.near, &stage.bus, shape, ELSE..ELSE + records).await?;
        self.near.flush(Duration::from_secs(60)).await?;
        if shape == Shape::RetryStorm {
            // The storm begins when its first records are due.
            tokio::time::sleep_until(due.into()).await;
        }
        let felt = self.victims(window).await?;
        let quiet = (self.number - before) * VICTIMS.len() as u64;
        stage.drain(finished + records + quiet).await?;
        Ok(felt)
    }

    /// Sends for both victims at their rate, and takes their deliveries.
    async fn victims(&mut self, window: Duration) -> Outcome<Felt> {
        let mut waits: [Vec<u64>; 2] = Default::default();
        let first = self.now_us();
        let (mut next, mut sent) = (first, 0usize);
        let end = first + window.as_micros() as u64;
        let patience = end + PATIENCE.as_micros() as u64;
        while self.now_us() < patience && (next < end || waits.iter().any(|w| w.len() < sent)) {
            let due = self.began + Duration::from_micros(if next < end { next } else { patience });
            tokio::select! {
                records = self.deliveries.recv() => {
                    let records = records.ok_or("the reader ended")?;
                    self.take(&records, first, &mut waits);
                }
                () = tokio::time::sleep_until(due.into()), if next < end => {
                    for victim in 0..VICTIMS.len() {
                        let record = shapes::quiet(&self.topic, victim, self.number, next);
                        drop(self.near.send(record)?);
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
