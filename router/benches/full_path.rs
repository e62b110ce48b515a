//! The router's full path: consume, decode, store, dispatch, record, commit.
//!
//! In: a backlog (`--count N --tenants T --fsync each|interval`) on the embedded broker and SQLite, or on the
//! Kafka and Cassandra of the test cluster that `CARILLON_TEST_CLUSTER` describes.
//! Out: notifications per second and CPU per notification, by thread.
//! Always: router, store and broker are the real ones; the embedded broker's share is told apart.

#[path = "full_path/servers.rs"]
mod servers;

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use carillon_bus::{Admin, BusConfig, Outgoing, Producer, SendError};
use carillon_chassis::{clock::Clock, metrics::Metrics, readiness::Readiness, tasks::Tasks};
use carillon_loadtest::{
    process::{ThreadTimes, own_cpu_time, spent, thread_times},
    report::Report,
};
use carillon_router::{Router, RouterConfig, RouterDeps};
use carillon_schemas::{
    envelope,
    headers::{self, Headers},
};
use servers::Servers;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long the backlog may take.
const PATIENCE: Duration = Duration::from_secs(300);

struct Settings {
    count: u64,
    tenants: u64,
    fsync: bool,
}

fn main() -> Outcome<()> {
    let settings = settings();
    let roles = roles()?;
    let servers = Servers::start(&roles, settings.fsync)?;
    roles.block_on(preload(&servers, &settings))?;
    let measured = roles.block_on(measure(&servers, settings.count))?;
    report(&servers, &settings, &measured)?;
    servers.stop(&roles)
}

fn settings() -> Settings {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        args.iter()
            .position(|a| a == name)
            .and_then(|at| args.get(at + 1))
    };
    let number = |name: &str, or: u64| value(name).and_then(|v| v.parse().ok()).unwrap_or(or);
    Settings {
        count: number("--count", servers::backlog()),
        tenants: number("--tenants", 100),
        fsync: value("--fsync").is_none_or(|v| v != "interval"),
    }
}

fn roles() -> Outcome<Runtime> {
    let mut builder = Builder::new_multi_thread();
    Ok(builder
        .worker_threads(1)
        .thread_name("router")
        .enable_all()
        .build()?)
}

async fn preload(servers: &Servers, settings: &Settings) -> Outcome<()> {
    let (bus, metrics, tasks) = (&servers.bus, Metrics::new(), Tasks::new());
    Admin::new(bus, &metrics)?
        .apply(&bus.topics.all(&servers.layout))
        .await?;
    let producer = Producer::new(bus, &metrics, &tasks)?;
    let topic: Arc<str> = bus.topics.notifications.as_str().into();
    for n in 0..settings.count {
        let record = record(&topic, n, n % settings.tenants);
        while let Err(SendError::QueueFull) = producer.send(record.clone()).map(drop) {
            producer.flush(Duration::from_secs(30)).await?;
        }
    }
    producer.flush(Duration::from_secs(60)).await?;
    Ok(())
}

fn record(topic: &Arc<str>, n: u64, tenant: u64) -> Outgoing {
    let id = format!("019a0000-0000-7000-8000-{n:012x}");
    let tenant = format!("tenant-{tenant}");
    let value = format!(
        r#"{{"notification_id":"{id}","tenant_id":"{tenant}","user_id":"u1","channel":"alerts","audience":"channel","correlation_id":"req-{n}","accepted_at":1760000000123,"content":"{:x<120}"}}"#,
        "disk almost full "
    );
    let mut headers = Headers::with_capacity(4);
    headers.push_raw(headers::TENANT, tenant.clone());
    headers.push_raw(headers::ID, id);
    headers.push_raw(headers::SCHEMA, envelope::SCHEMA);
    headers.push_raw(headers::CORRELATION_ID, format!("req-{n}"));
    Outgoing {
        topic: Arc::clone(topic),
        partition: None,
        key: Bytes::from(tenant),
        value: Bytes::from(value),
        headers,
    }
}

struct Measured {
    wall: Duration,
    process: Duration,
    threads: ThreadTimes,
    batches: f64,
}

async fn measure(servers: &Servers, count: u64) -> Outcome<Measured> {
    let (metrics, tasks) = (Metrics::new(), Tasks::new());
    let deps = deps(&servers.bus, servers, &metrics, &tasks);
    // The group is as much this run's own as the topics are.
    let group = format!("{}router", servers.bus.topics.notifications);
    let mut config = RouterConfig::new(group, "bench");
    config.shards = servers.layout.shards;
    let router = Router::new(config, deps)?;
    let (stop, pid) = (CancellationToken::new(), std::process::id());
    let (threads, process, begun) = (thread_times(pid), own_cpu_time(), Instant::now());
    let token = stop.clone();
    let (ended, end) = tokio::sync::oneshot::channel();
    tasks.spawn("router", async move {
        let _ = ended.send(router.run(token).await);
    });
    let finished = metrics.counter("carillon_router_finished_total", "");
    while finished.get() < count {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} of {count} after {PATIENCE:?}", finished.get()).into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let wall = begun.elapsed();
    let measured = Measured {
        wall,
        process: own_cpu_time().saturating_sub(process),
        threads: spent(&threads, thread_times(pid)),
        batches: metrics
            .histogram("carillon_router_batch_records", "", &[])
            .get_sample_count() as f64,
    };
    stop.cancel();
    end.await??;
    tasks.close(Duration::from_secs(10)).await;
    Ok(measured)
}

fn deps(bus: &BusConfig, servers: &Servers, metrics: &Metrics, tasks: &Tasks) -> RouterDeps {
    RouterDeps {
        bus: bus.clone(),
        metrics: metrics.clone(),
        readiness: Readiness::default(),
        clock: Clock::system(),
        store: Arc::clone(&servers.store),
        tasks: tasks.clone(),
    }
}

fn report(servers: &Servers, settings: &Settings, measured: &Measured) -> Outcome<()> {
    let count = settings.count as f64;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count;
    let own: Duration = measured
        .threads
        .iter()
        .filter(|(name, _)| *name != "broker")
        .map(|(_, t)| *t)
        .sum();
    let mut report = Report::new(servers.report);
    report
        .setting("notifications", settings.count)
        .setting("tenants", settings.tenants)
        .setting("shards", servers.layout.shards);
    for (name, value) in &servers.settings {
        report.setting(name, value);
    }
    report
        .figure(
            "notifications, decode to commit",
            count / measured.wall.as_secs_f64(),
            "1/s",
            None,
        )
        .figure("records per batch", count / measured.batches, "", None)
        .figure(
            "CPU each, whole process with the broker",
            each(measured.process),
            "us",
            None,
        )
        .figure("CPU each, without the broker's threads", each(own), "us", None)
        .figure("notifications per core", 1e6 / each(own), "1/s", servers.per_core);
    if let Some(bare) = servers.bare_store(&report) {
        report.beside("CPU each, beside a bare store loop", each(own), "us", bare, None);
    }
    for (name, time) in measured.threads.iter().filter(|(_, time)| !time.is_zero()) {
        report.figure(&format!("CPU each, {name}"), each(*time), "us", None);
    }
    Ok(report.finish()?)
}
