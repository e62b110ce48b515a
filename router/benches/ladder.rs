//! The ladder: how late retries come back, and what a great many that wait cost.
//!
//! In: `--waiting N --retries N --tiers N --fsync each|interval`, on the embedded broker and SQLite. Out: resident
//! memory before and with N records on the last tier, and the lateness of N retries of the tiers of at most two minutes,
//! as a histogram.
//! Always: the real router; lateness counts from a moment before the broker wrote the record, plus its delay, to its
//! delivery's arrival at a reader: so it is never too small, and what is early by it is early.

#[allow(dead_code, reason = "the figures of the full path are not asked for here")]
#[path = "full_path/servers.rs"]
mod servers;

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use carillon_bus::{Admin, BusConfig, Outgoing, Producer, Record, SendError, Tail, TailOptions};
use carillon_chassis::{clock::Clock, metrics::Metrics, readiness::Readiness, tasks::Tasks};
use carillon_loadtest::{process::resident_bytes, report::Report};
use carillon_router::{Router, RouterConfig, RouterDeps};
use carillon_schemas::headers::{self, Headers};
use servers::Servers;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long the last retry is waited for.
const PATIENCE: Duration = Duration::from_secs(240);
/// The longest tier whose retries are waited for.
const LONGEST: Duration = Duration::from_secs(120);
/// Bounds of the histogram, in milliseconds of lateness.
const BUCKETS: [u64; 8] = [10, 50, 100, 250, 500, 1_000, 5_000, u64::MAX];
/// The content of what is only to wait.
const WAITS: &str = "waits";

/// How much there is to climb.
struct Amounts {
    /// Records that only wait, on the last tier.
    waiting: u64,
    /// Retries whose lateness is measured.
    retries: u64,
    /// On how many tiers at most, from the first.
    tiers: usize,
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        args.iter()
            .position(|a| a == name)
            .and_then(|at| args.get(at + 1))
    };
    let number = |name: &str, or: u64| value(name).and_then(|v| v.parse().ok()).unwrap_or(or);
    let amounts = Amounts {
        waiting: number("--waiting", 1_000_000),
        retries: number("--retries", 100_000),
        tiers: number("--tiers", u64::MAX) as usize,
    };
    let roles = runtime("router")?;
    let servers = Servers::start(&roles, value("--fsync").is_some_and(|v| v == "each"))?;
    runtime("load")?.block_on(measure(&roles, &servers, amounts))?;
    servers.stop(&roles)
}

fn runtime(name: &str) -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()?)
}

async fn measure(roles: &Runtime, servers: &Servers, amounts: Amounts) -> Outcome<()> {
    let Amounts {
        waiting,
        retries,
        tiers,
    } = amounts;
    let (metrics, tasks, bus) = (Metrics::new(), Tasks::new(), &servers.bus);
    Admin::new(bus, &metrics)?
        .apply(&bus.topics.all(&servers.layout))
        .await?;
    let producer = Producer::new(bus, &metrics, &tasks)?;
    let from = (0..i32::from(servers.layout.shards)).map(|shard| (shard, 0));
    let options = TailOptions::default();
    let (tail, mut deliveries) = Tail::start(
        bus,
        &bus.topics.deliveries,
        from.collect(),
        options,
        &metrics,
        &tasks,
    )?;
    let (stop, router) = (CancellationToken::new(), router(servers, &tasks)?);
    let token = stop.clone();
    let (ended, end) = tokio::sync::oneshot::channel();
    roles.spawn(async move {
        let _ = ended.send(router.run(token).await);
    });
    let began = Instant::now();
    // Once through, so that what is made once is made.
    let once = Climb {
        count: retries / 100,
        run: 1,
        tiers: 1,
    };
    let warm = climb(&producer, bus, began, once, &mut deliveries).await?;
    let warm: usize = warm.iter().map(Vec::len).sum();
    let before = resident_mib();
    for n in 0..waiting {
        send(&producer, waits(bus, n)).await?;
    }
    producer.flush(Duration::from_secs(60)).await?;
    let written = resident_mib();
    let short = bus
        .topics
        .retry
        .iter()
        .take_while(|tier| tier.delay.delay() <= LONGEST);
    let all = Climb {
        count: retries,
        run: 2,
        tiers: short.count().min(tiers).max(1),
    };
    let mut lateness = climb(&producer, bus, began, all, &mut deliveries).await?;
    let after = resident_mib();
    let mut report = Report::new("ladder");
    report
        .setting("waiting", waiting)
        .setting("retries", retries)
        .setting("warm", warm);
    for (name, value) in &servers.settings {
        report.setting(name, value);
    }
    report
        .figure("resident before", before, "MiB", None)
        .figure(
            "resident when the waiting ones were written",
            written,
            "MiB",
            None,
        )
        .figure("resident after the retries", after, "MiB", None);
    tell_tiers(&mut report, bus, &mut lateness);
    tell(&mut report, lateness.concat(), retries);
    report.finish()?;
    stop.cancel();
    end.await??;
    tail.close(Duration::from_secs(5)).await?;
    tasks.close(Duration::from_secs(10)).await;
    Ok(())
}

fn router(servers: &Servers, tasks: &Tasks) -> Outcome<Router> {
    let mut config = RouterConfig::new(format!("{}router", servers.bus.topics.notifications), "bench");
    config.shards = servers.layout.shards;
    let deps = RouterDeps {
        bus: servers.bus.clone(),
        metrics: Metrics::new(),
        readiness: Readiness::default(),
        clock: Clock::system(),
        store: Arc::clone(&servers.store),
        tasks: tasks.clone(),
    };
    Ok(Router::new(config, deps)?)
}

fn tell_tiers(report: &mut Report, bus: &BusConfig, lateness: &mut [Vec<i64>]) {
    for (tier, lateness) in bus.topics.retry.iter().zip(lateness) {
        lateness.sort_unstable();
        let of = format!(
            "of {} after {:?}: lateness p99",
            lateness.len(),
            tier.delay.delay()
        );
        report.figure(&of, quantile(lateness, 0.99), "ms", Some("<= 1000"));
    }
}

fn tell(report: &mut Report, mut lateness: Vec<i64>, retries: u64) {
    lateness.sort_unstable();
    let early = lateness.iter().filter(|ms| **ms < 0).count();
    report
        .figure(
            "came back",
            lateness.len() as f64,
            "",
            Some(&format!(">= {retries}")),
        )
        .figure("early", early as f64, "", Some("<= 0"))
        .figure("lateness p50", quantile(&lateness, 0.5), "ms", None)
        .figure("lateness p99", quantile(&lateness, 0.99), "ms", Some("<= 1000"))
        .figure(
            "lateness, most",
            lateness.last().copied().unwrap_or(0) as f64,
            "ms",
            None,
        );
    let mut from = 0;
    for to in BUCKETS {
        let within = |ms: &&i64| u64::try_from(**ms).is_ok_and(|ms| (from..to).contains(&ms));
        let name = match to {
            u64::MAX => format!("late by {from} ms or more"),
            _ => format!("late by {from} to {to} ms"),
        };
        report.figure(&name, lateness.iter().filter(within).count() as f64, "", None);
        from = to;
    }
}

/// Of sorted figures; 0 of none.
fn quantile(sorted: &[i64], quantile: f64) -> f64 {
    let at = (sorted.len() as f64 * quantile) as usize;
    sorted.get(at).copied().unwrap_or(0) as f64
}

/// What climbs.
struct Climb {
    /// How many retries.
    count: u64,
    /// Tells their ids from those of another run.
    run: u64,
    /// To how many tiers, in turn, from the first.
    tiers: usize,
}

/// Sends retries, spread over some seconds, and takes their deliveries. Gives their lateness in milliseconds, by tier.
async fn climb(
    producer: &Producer,
    bus: &BusConfig,
    began: Instant,
    climb: Climb,
    deliveries: &mut mpsc::Receiver<Vec<Record>>,
) -> Outcome<Vec<Vec<i64>>> {
    let Climb { count, run, tiers } = climb;
    let begun = Instant::now();
    let (mut lateness, mut came, mut sent) = (vec![Vec::new(); tiers], 0, 0);
    // A tenth of them a second: the storm is another benchmark.
    let per_tick = (count / 1_000).max(1);
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while came < count && begun.elapsed() < PATIENCE {
        tokio::select! {
            records = deliveries.recv() => {
                let now = began.elapsed();
                for record in records.ok_or("the reader ended")? {
                    let Some((tier, at)) = record.value.as_ref().and_then(|value| sent_at(value)) else {
                        continue;
                    };
                    let due = Duration::from_micros(at) + bus.topics.retry[tier].delay.delay();
                    let late = now.as_micros() as i64 - due.as_micros() as i64;
                    lateness[tier].push(late.div_euclid(1_000));
                    came += 1;
                }
            }
            _ = ticks.tick(), if sent < count => {
                for _ in 0..per_tick.min(count - sent) {
                    let tier = sent as usize % tiers;
                    let content = format!("{tier} {}", began.elapsed().as_micros());
                    send(producer, record(bus, tier, (run << 32) + sent, &content)).await?;
                    sent += 1;
                }
            }
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    Ok(lateness)
}

async fn send(producer: &Producer, record: Outgoing) -> Outcome<()> {
    while let Err(SendError::QueueFull) = producer.send(record.clone()).map(drop) {
        producer.flush(Duration::from_secs(30)).await?;
    }
    Ok(())
}

fn waits(bus: &BusConfig, n: u64) -> Outgoing {
    record(bus, bus.topics.retry.len() - 1, n, WAITS)
}

/// A record that waits on a tier for its second attempt.
fn record(bus: &BusConfig, tier: usize, n: u64, content: &str) -> Outgoing {
    let (id, tenant) = (
        format!("019a0000-0000-7000-8000-{n:012x}"),
        format!("tenant-{}", n % 100),
    );
    let value = format!(
        r#"{{"notification_id":"{id}","tenant_id":"{tenant}","channel":"alerts","correlation_id":"r","accepted_at":1760000000123,"content":"{content}"}}"#
    );
    let now_ms = Clock::system().unix_ms();
    let tier = &bus.topics.retry[tier];
    let due_ms = now_ms + tier.delay.delay().as_millis() as u64;
    let mut headers = Headers::with_capacity(9);
    headers.push_raw(headers::TENANT, tenant.clone());
    headers.push_raw(headers::ID, id);
    headers.push_raw(
        headers::ORIGIN,
        format!("{}/0/{}", bus.topics.notifications, n & 0xffff_ffff),
    );
    for (name, value) in [
        (headers::ATTEMPT, 1),
        (headers::HOPS, 1),
        (headers::REDRIVE_COUNT, 0),
        (headers::DELIVERY, 0),
        (headers::FIRST_SEEN, now_ms),
        (headers::NOT_BEFORE, due_ms),
    ] {
        headers.push_raw(name, value.to_string());
    }
    Outgoing {
        topic: tier.name.as_str().into(),
        partition: None,
        key: Bytes::from(tenant),
        value: Bytes::from(value),
        headers,
    }
}

/// To which tier the record of a delivery was sent, and when, in microseconds of the run.
fn sent_at(value: &[u8]) -> Option<(usize, u64)> {
    let text = std::str::from_utf8(value).ok()?;
    let content = text.split("\"content\":\"").nth(1)?.split('"').next()?;
    let (tier, at) = content.split_once(' ')?;
    Some((tier.parse().ok()?, at.parse().ok()?))
}

/// Of this process: router, broker and load.
fn resident_mib() -> f64 {
    resident_bytes(std::process::id()) as f64 / 1_048_576.0
}
