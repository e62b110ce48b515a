//! What a notification costs the store on Cassandra: persist and dispatched, in batches, beside a bare loop.
//!
//! In: the shared cluster; optionally seconds for each case. Out: notifications per second, latency of batches,
//! CPU time for each. Always: the bare loop writes the same rows to tables of the same kind, each by a statement
//! of its own, with as many on their way at once, in turns with the store.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark prints, and fails by panicking"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_chassis::{clock::Clock, metrics::Metrics, secret::Secret};
use carillon_loadtest::{process::own_cpu_time, report::Report};
use carillon_schemas::{NotificationId, TenantId};
use carillon_store::{
    CassandraOptions, Dispatched, NewNotification, NotificationStore, StoreConfig, conformance::facts,
};
use futures_util::{StreamExt, stream};
use scylla::{
    client::{execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder},
    statement::{Consistency, prepared::PreparedStatement},
};

/// Notifications in a batch: the router's.
const BATCH: usize = 512;

/// Turns of each, store and bare loop, so that both meet the same moods of the machine.
const TURNS: u32 = 3;

struct Case {
    name: &'static str,
    tenants: usize,
    /// Batches on their way at once, as from several partitions.
    lanes: u64,
}

#[derive(Default)]
struct Sum {
    written: u64,
    took: Duration,
    cpu: Duration,
    batches: Vec<Duration>,
}

impl Sum {
    fn rate(&self) -> f64 {
        self.written as f64 / self.took.as_secs_f64()
    }

    fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.written as f64
    }

    fn quantile_ms(&mut self, q: f64) -> f64 {
        self.batches.sort();
        let at = (self.batches.len() as f64 * q) as usize;
        let one = self.batches.get(at.min(self.batches.len().saturating_sub(1)));
        one.map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let seconds: u64 = arguments
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(6);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(Box::pin(run(Duration::from_secs(seconds))));
}

async fn run(length: Duration) {
    let cluster = carillon_fixtures::shared().cassandra;
    let keyspace = format!("carillon_bench_{}", std::process::id());
    let config = StoreConfig {
        cassandra: CassandraOptions {
            user: Some(cluster.user.clone()),
            password: Some(Secret::new(cluster.password.clone())),
            replication: 1,
            ..CassandraOptions::default()
        },
        ..StoreConfig::default()
    };
    let url = format!("cassandra://{}/{keyspace}", cluster.address);
    carillon_store::migrate(&url, &config).await.unwrap();
    let store = carillon_store::open(&url, &config, &Clock::system(), &Metrics::new())
        .await
        .unwrap();
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(Duration::from_secs(4)))
        .build();
    let session = SessionBuilder::new()
        .known_node(&cluster.address)
        .user(&cluster.user, &cluster.password)
        .default_execution_profile_handle(profile.into_handle());
    let session = Box::pin(session.build()).await.unwrap();
    let bare = Arc::new(Bare::new(session, &keyspace, config.cassandra.in_flight).await);
    let mut report = Report::new("store-cassandra");
    let sample = facts::new(&"tenant-00".parse().unwrap(), 0, 1, 0, "router-0");
    report
        .setting("batch", BATCH)
        .setting("statements on their way", config.cassandra.in_flight)
        .setting("seconds each", length.as_secs())
        .setting("envelope bytes", sample.bytes.len());
    for case in [
        Case {
            name: "100 tenants, 1 batch at a time",
            tenants: 100,
            lanes: 1,
        },
        Case {
            name: "100 tenants, 4 batches",
            tenants: 100,
            lanes: 4,
        },
        Case {
            name: "one tenant, 4 batches",
            tenants: 1,
            lanes: 4,
        },
    ] {
        measure(&case, &store, &bare, length, &mut report).await;
    }
    store.close().await;
    let statement = format!("DROP KEYSPACE {keyspace}");
    bare.session.query_unpaged(statement, ()).await.unwrap();
    report.finish().unwrap();
}

async fn measure(
    case: &Case,
    store: &Arc<dyn NotificationStore>,
    bare: &Arc<Bare>,
    length: Duration,
    report: &mut Report,
) {
    let (mut ours, mut theirs) = (Sum::default(), Sum::default());
    for turn in 0..TURNS {
        let (began, cpu) = (Instant::now(), own_cpu_time());
        let mut lanes = tokio::task::JoinSet::new();
        for number in 0..case.lanes {
            let end = began + length / TURNS;
            let first = (u64::from(turn) * case.lanes + number) << 32;
            lanes.spawn(lane(Arc::clone(store), first, case.tenants, end));
        }
        for batches in lanes.join_all().await {
            ours.written += batches.len() as u64 * BATCH as u64;
            ours.batches.extend(batches);
        }
        ours.took += began.elapsed();
        ours.cpu += own_cpu_time() - cpu;
        let (began, cpu) = (Instant::now(), own_cpu_time());
        // As many tasks as the store has callers, and together as much on its way.
        let mut lanes = tokio::task::JoinSet::new();
        for number in 0..case.lanes {
            let (bare, tenants, end) = (Arc::clone(bare), case.tenants, began + length / TURNS);
            let first = (u64::from(turn) * case.lanes + number) << 32;
            let room = bare.in_flight / case.lanes as usize;
            lanes.spawn(async move { bare.write(first, tenants, room, end).await });
        }
        theirs.written += lanes.join_all().await.into_iter().sum::<u64>();
        theirs.took += began.elapsed();
        theirs.cpu += own_cpu_time() - cpu;
    }
    let name = case.name;
    report.beside(
        &format!("{name}: notifications"),
        ours.rate(),
        "1/s",
        theirs.rate(),
        Some(">= 0.67"),
    );
    report.beside(
        &format!("{name}: CPU per notification"),
        ours.cpu_us(),
        "us",
        theirs.cpu_us(),
        Some("<= 1.5"),
    );
    for (q, label) in [(0.5, "p50"), (0.99, "p99")] {
        let what = format!("{name}: persist and dispatched of a batch, {label}");
        report.figure(&what, ours.quantile_ms(q), "ms", None);
    }
}

fn batch(tenants: usize) -> (Vec<NewNotification>, Vec<Dispatched>) {
    let tenants: Vec<TenantId> = (0..tenants)
        .map(|n| format!("tenant-{n:02}").parse().unwrap())
        .collect();
    let tenant = |n: usize| &tenants[n % tenants.len()];
    let new = (0..BATCH).map(|n| facts::new(tenant(n), n as u64, 1, 0, "router-0"));
    let sent = (0..BATCH).map(|n| facts::dispatched(tenant(n), n as u64, 1, 1, 0, "router-0"));
    (new.collect(), sent.collect())
}

/// Gives the rows of a batch their ids and times.
fn renew(new: &mut [NewNotification], sent: &mut [Dispatched], number: &mut u64) {
    let now = Clock::system().unix_ms();
    for (new, sent) in new.iter_mut().zip(sent) {
        let mut random = [0x5a; 10];
        random[1..9].copy_from_slice(&number.to_be_bytes());
        random[9] = *number as u8;
        let id = NotificationId::at(now, &random);
        (new.envelope.notification_id, new.envelope.accepted_at, new.at_ms) = (id, now, now);
        (sent.id, sent.cursor.offset, sent.at_ms) = (id, number.cast_signed(), now);
        *number += 1;
    }
}

/// Writes batches one after another until the time is over; gives what each took.
async fn lane(
    store: Arc<dyn NotificationStore>,
    mut number: u64,
    tenants: usize,
    until: Instant,
) -> Vec<Duration> {
    let (mut new, mut sent) = batch(tenants);
    let mut batches = Vec::new();
    while Instant::now() < until {
        renew(&mut new, &mut sent, &mut number);
        let began = Instant::now();
        store.persist(&new).await.unwrap();
        store.dispatched(&sent).await.unwrap();
        batches.push(began.elapsed());
    }
    batches
}

/// A loop of prepared statements and nothing else.
struct Bare {
    session: Session,
    payload: PreparedStatement,
    fact: PreparedStatement,
    place: PreparedStatement,
    recent: PreparedStatement,
    in_flight: usize,
}

const DAY: i32 = 20_000;
const LIFE: i32 = 777_600;

impl Bare {
    async fn new(session: Session, keyspace: &str, in_flight: usize) -> Self {
        let prepare = async |table: &str, columns: &str| {
            let marks = vec!["?"; columns.split(',').count()].join(", ");
            let text = format!(
                "INSERT INTO {keyspace}.{table} ({columns}) VALUES ({marks}) USING TIMESTAMP ? AND TTL ?"
            );
            let mut prepared = session.prepare(text).await.unwrap();
            prepared.set_is_idempotent(true);
            prepared
        };
        let fact = "tenant_id, notification_id, stamp, node, day, at";
        let whole = "accepted_at, channel, correlation_id, envelope";
        let place = "tenant_id, hour, sub, at, notification_id, channel";
        let recent = "tenant_id, stream, day, generation, shard, position, notification_id, delivery, at";
        Self {
            payload: prepare("notifications", &format!("{fact}, {whole}")).await,
            fact: prepare("notifications", fact).await,
            place: prepare("tenant_timeline", place).await,
            recent: prepare("channel_recent", recent).await,
            session,
            in_flight,
        }
    }

    /// Writes notifications until the time is over; gives how many.
    async fn write(&self, first: u64, tenants: usize, room: usize, until: Instant) -> u64 {
        let (mut new, mut sent) = batch(tenants);
        let mut number = first;
        while Instant::now() < until {
            renew(&mut new, &mut sent, &mut number);
            let rows = (0..4 * BATCH).map(|n| self.row(n % 4, &new[n / 4], &sent[n / 4]));
            let each = stream::iter(rows.collect::<Vec<_>>());
            each.buffer_unordered(room).collect::<()>().await;
        }
        number - first
    }

    async fn row(&self, kind: usize, new: &NewNotification, sent: &Dispatched) {
        let (tenant, id) = (sent.tenant.as_str(), &sent.id.as_bytes()[..]);
        let (at, written) = (sent.at_ms.cast_signed(), sent.at_ms.cast_signed() * 1_000);
        let (channel, node) = (new.envelope.channel.as_str(), &*new.node);
        let correlation = new.envelope.correlation_id.as_str();
        let session = &self.session;
        let answer = match kind {
            0 => {
                let fact = (tenant, id, 258, node, DAY, at);
                let (a, b, c, d, e, f) = fact;
                let row = (
                    a,
                    b,
                    c,
                    d,
                    e,
                    f,
                    at,
                    channel,
                    correlation,
                    &new.bytes[..],
                    written,
                    LIFE,
                );
                session.execute_unpaged(&self.payload, row).await
            }
            1 => {
                let row = (tenant, id, 260, node, DAY, at, written, LIFE);
                session.execute_unpaged(&self.fact, row).await
            }
            2 => {
                let sub = (id[15] % 8).cast_signed();
                let row = (tenant, DAY * 24, sub, at, id, channel, written, LIFE);
                session.execute_unpaged(&self.place, row).await
            }
            _ => {
                let stream = sent.stream.to_string();
                let row = (
                    tenant,
                    stream,
                    DAY,
                    1,
                    3,
                    sent.cursor.offset,
                    id,
                    1,
                    at,
                    written,
                    LIFE,
                );
                session.execute_unpaged(&self.recent, row).await
            }
        };
        answer.unwrap();
    }
}
