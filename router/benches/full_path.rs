//! The router's full path: consume, decode, store, dispatch, record, commit.
//!
//! In: a backlog on the embedded broker (`--count N --tenants T --fsync each|interval`).
//! Out: notifications per second and CPU per notification, by thread.
//! Always: router, store and broker are the real ones; the broker's share is told apart.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use carillon_broker::{Broker, Options};
use carillon_bus::{Admin, BusConfig, Outgoing, Producer, SendError};
use carillon_chassis::{clock::Clock, metrics::Metrics, readiness::Readiness, tasks::Tasks};
use carillon_loadtest::report::Report;
use carillon_router::{Router, RouterConfig, RouterDeps};
use carillon_schemas::{
    envelope,
    headers::{self, Headers},
    topics::Layout,
};
use carillon_store::{NotificationStore, SqliteOptions, SqliteStore};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Linux counts CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
const LAYOUT: Layout = Layout::SINGLE;

struct Settings {
    count: u64,
    tenants: u64,
    fsync: bool,
}

fn main() -> Outcome<()> {
    let settings = settings();
    let dir = tempfile::tempdir()?;
    let brokers = runtime("broker", 2)?;
    let roles = runtime("router", 1)?;
    let stop = CancellationToken::new();
    let mut options = Options::new(dir.path().join("broker"));
    if !settings.fsync {
        options.fsync = carillon_broker::Fsync::Interval(Duration::from_millis(100));
    }
    let broker = brokers.block_on(Broker::bind(options))?;
    let bus = BusConfig::new(broker.local_addr().to_string());
    let token = stop.clone();
    let serving = brokers.spawn(async move { broker.run(token).await });
    let store = Arc::new(open_store(&dir, &settings)?);
    roles.block_on(preload(&bus, &settings))?;
    let measured = roles.block_on(measure(&bus, store, settings.count))?;
    report(&settings, &measured)?;
    stop.cancel();
    brokers.block_on(serving)??;
    Ok(())
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
        count: number("--count", 200_000),
        tenants: number("--tenants", 100),
        fsync: value("--fsync").is_none_or(|v| v != "interval"),
    }
}

fn runtime(name: &'static str, threads: usize) -> Outcome<Runtime> {
    let mut builder = Builder::new_multi_thread();
    Ok(builder
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .build()?)
}

fn open_store(dir: &tempfile::TempDir, settings: &Settings) -> Outcome<SqliteStore> {
    let mut options = SqliteOptions::default();
    if !settings.fsync {
        options.fsync = carillon_store::Fsync::Interval(Duration::from_millis(100));
    }
    let path = dir.path().join("carillon.db");
    Ok(SqliteStore::open(
        path,
        options,
        Clock::system(),
        &Metrics::new(),
    )?)
}

async fn preload(bus: &BusConfig, settings: &Settings) -> Outcome<()> {
    let (metrics, tasks) = (Metrics::new(), Tasks::new());
    Admin::new(bus, &metrics)?.apply(&bus.topics.all(&LAYOUT)).await?;
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
    threads: BTreeMap<String, Duration>,
    batches: f64,
}

async fn measure(bus: &BusConfig, store: Arc<dyn NotificationStore>, count: u64) -> Outcome<Measured> {
    let (metrics, tasks) = (Metrics::new(), Tasks::new());
    let deps = RouterDeps {
        bus: bus.clone(),
        metrics: metrics.clone(),
        readiness: Readiness::default(),
        clock: Clock::system(),
        store,
        tasks: tasks.clone(),
    };
    let mut config = RouterConfig::new("router", "bench");
    config.shards = LAYOUT.shards;
    let router = Router::new(config, deps)?;
    let stop = CancellationToken::new();
    let (threads, process, begun) = (thread_times()?, process_time()?, Instant::now());
    let token = stop.clone();
    let (ended, end) = tokio::sync::oneshot::channel();
    tasks.spawn("router", async move {
        let _ = ended.send(router.run(token).await);
    });
    let finished = metrics.counter("carillon_router_finished_total", "");
    while finished.get() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let wall = begun.elapsed();
    let measured = Measured {
        wall,
        process: process_time()?.saturating_sub(process),
        threads: difference(thread_times()?, &threads),
        batches: metrics
            .histogram("carillon_router_batch_records", "", &[])
            .get_sample_count() as f64,
    };
    stop.cancel();
    end.await??;
    tasks.close(Duration::from_secs(10)).await;
    Ok(measured)
}

fn difference(
    after: BTreeMap<String, Duration>,
    before: &BTreeMap<String, Duration>,
) -> BTreeMap<String, Duration> {
    let since = |name: &String| before.get(name).copied().unwrap_or_default();
    after
        .into_iter()
        .map(|(name, time)| (name.clone(), time.saturating_sub(since(&name))))
        .collect()
}

fn process_time() -> Outcome<Duration> {
    Ok(cpu_time(&fs::read_to_string("/proc/self/stat")?))
}

/// CPU time by the name of the thread, numbers at its end left out.
fn thread_times() -> Outcome<BTreeMap<String, Duration>> {
    let mut times = BTreeMap::<String, Duration>::new();
    for task in fs::read_dir("/proc/self/task")? {
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else {
            continue;
        };
        let name = stat.split(['(', ')']).nth(1).unwrap_or_default();
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        *times.entry(name).or_default() += cpu_time(&stat);
    }
    Ok(times)
}

/// User and system time of a stat line: the 14th and 15th field.
fn cpu_time(stat: &str) -> Duration {
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: u32 = fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u32>().ok())
        .sum();
    TICK * ticks
}

fn report(settings: &Settings, measured: &Measured) -> Outcome<()> {
    let count = settings.count as f64;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count;
    let own: Duration = measured
        .threads
        .iter()
        .filter(|(name, _)| *name != "broker")
        .map(|(_, t)| *t)
        .sum();
    let mut report = Report::new("router");
    report
        .setting("notifications", settings.count)
        .setting("tenants", settings.tenants)
        .setting("shards", LAYOUT.shards)
        .setting("fsync", if settings.fsync { "each" } else { "every 100 ms" })
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
        .figure("notifications per core", 1e6 / each(own), "1/s", Some(">= 25000"));
    for (name, time) in measured.threads.iter().filter(|(_, time)| !time.is_zero()) {
        report.figure(&format!("CPU each, {name}"), each(*time), "us", None);
    }
    Ok(report.finish()?)
}
