//! What a notification costs the store: persist and dispatched, in batches, with fsync; and what its delivery does.
//!
//! In: optionally a directory to write in, seconds, and a number of tenants. Out: notifications per second and CPU time for each,
//! the store's own threads apart. Always: the work is the router's, batch by batch, and the store is real.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark prints, and fails by panicking"
)]

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_chassis::{clock::Clock, metrics::Metrics};
use carillon_loadtest::report::Report;
use carillon_schemas::{
    NotificationId, TenantId,
    status::{Stamp, Status},
};
use carillon_store::{
    Dispatched, Fact, Fsync, NewNotification, NotificationStore, SqliteOptions, SqliteStore,
    conformance::facts,
};

const BATCH: usize = 256;

/// A clock tick of `/proc/*/stat`: 100 to the second on Linux.
const TICK: Duration = Duration::from_millis(10);

struct Case {
    name: &'static str,
    fsync: Fsync,
    /// Batches on their way at once, as from several partitions.
    lanes: usize,
    /// In which attempt it is delivered too, after the dispatch: in the first the fact stands in the row.
    delivered: Option<u8>,
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let directory = arguments.next().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let seconds = arguments
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(4);
    let tenants = arguments
        .next()
        .and_then(|tenants| tenants.parse().ok())
        .unwrap_or(100);
    let mut report = Report::new("store-writes");
    report
        .setting("batch", BATCH)
        .setting("tenants", tenants)
        .setting("seconds each", seconds);
    let sample = facts::new(&"tenant-00".parse().unwrap(), 0, 1, 0, "router-0");
    report.setting("envelope bytes", sample.bytes.len());
    for case in [
        Case {
            name: "fsync full, 1 lane",
            fsync: Fsync::Full,
            lanes: 1,
            delivered: None,
        },
        Case {
            name: "fsync full, 4 lanes",
            fsync: Fsync::Full,
            lanes: 4,
            delivered: None,
        },
        Case {
            name: "fsync interval 100 ms, 4 lanes",
            fsync: Fsync::Interval(Duration::from_millis(100)),
            lanes: 4,
            delivered: None,
        },
        Case {
            name: "the same, delivered",
            fsync: Fsync::Interval(Duration::from_millis(100)),
            lanes: 4,
            delivered: Some(1),
        },
        Case {
            name: "the same, delivered in a second attempt",
            fsync: Fsync::Interval(Duration::from_millis(100)),
            lanes: 4,
            delivered: Some(2),
        },
    ] {
        run(
            &case,
            &directory,
            tenants,
            Duration::from_secs(seconds),
            &mut report,
        );
    }
    report.finish().unwrap();
}

fn run(case: &Case, directory: &std::path::Path, tenants: usize, length: Duration, report: &mut Report) {
    let home = tempfile::tempdir_in(directory).unwrap();
    let options = SqliteOptions {
        fsync: case.fsync,
        ..SqliteOptions::default()
    };
    let clock = Clock::system();
    let metrics = Metrics::new();
    let store =
        Arc::new(SqliteStore::open(home.path().join("carillon.db"), options, clock, &metrics).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let began = Instant::now();
    let cpu = cpu("/proc/self/stat");
    let (writer, keeper) = (thread_cpu("store-writer"), thread_cpu("store-keeper"));
    let written: u64 = runtime.block_on(async {
        let mut lanes = tokio::task::JoinSet::new();
        for number in 0..case.lanes {
            let lane = lane(
                Arc::clone(&store),
                number as u64,
                tenants,
                began + length,
                case.delivered,
            );
            lanes.spawn(lane);
        }
        lanes.join_all().await.into_iter().sum()
    });
    let took = began.elapsed();
    let per = |used: Duration| used.as_secs_f64() * 1e6 / written as f64;
    let rate = written as f64 / took.as_secs_f64();
    report
        .figure(&format!("{}: notifications", case.name), rate, "1/s", None)
        .figure(
            &format!("{}: CPU per notification", case.name),
            per(self::cpu("/proc/self/stat") - cpu),
            "us",
            None,
        )
        .figure(
            &format!("{}: of which writer and keeper", case.name),
            per(thread_cpu("store-writer") - writer) + per(thread_cpu("store-keeper") - keeper),
            "us",
            None,
        );
    runtime.block_on(store.close());
}

/// Writes batches one after another until the time is over.
async fn lane(
    store: Arc<SqliteStore>,
    lane: u64,
    tenants: usize,
    until: Instant,
    delivered: Option<u8>,
) -> u64 {
    let tenants: Vec<TenantId> = (0..tenants)
        .map(|n| format!("tenant-{n:02}").parse().unwrap())
        .collect();
    let now = Clock::system().unix_ms();
    let mut new: Vec<NewNotification> = (0..BATCH)
        .map(|n| facts::new(&tenants[n % tenants.len()], n as u64, 1, now, "router-0"))
        .collect();
    let mut sent: Vec<Dispatched> = (0..BATCH)
        .map(|n| facts::dispatched(&tenants[n % tenants.len()], n as u64, 1, 1, now, "router-0"))
        .collect();
    let stamp = delivered.map(|attempt| Stamp {
        redrive: 0,
        attempt,
        status: Status::Delivered,
    });
    let mut notes: Vec<Fact> = stamp.map_or(Vec::new(), |stamp| {
        let note = |n| facts::note(&tenants[n % tenants.len()], n as u64, stamp, now, "fanout-0");
        (0..BATCH).map(note).collect()
    });
    let mut written = 0;
    while Instant::now() < until {
        let now = Clock::system().unix_ms();
        for (new, sent) in new.iter_mut().zip(&mut sent) {
            let number = written + lane * 1_000_000_000;
            let mut random = [0x5a; 10];
            random[..8].copy_from_slice(&number.to_be_bytes());
            let id = NotificationId::at(now, &random);
            (new.envelope.notification_id, new.envelope.accepted_at, new.at_ms) = (id, now, now);
            (sent.id, sent.cursor.offset, sent.at_ms) = (id, number as i64, now);
            written += 1;
        }
        store.persist(&new).await.unwrap();
        store.dispatched(&sent).await.unwrap();
        for (note, sent) in notes.iter_mut().zip(&sent) {
            (note.id, note.at_ms, note.sessions) = (sent.id, now + 2, Some(1));
        }
        store.note(&notes).await.unwrap();
    }
    written
}

/// User and system time of a `stat` file.
fn cpu(stat: &str) -> Duration {
    let text = fs::read_to_string(stat).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u32>().ok());
    TICK * ticks.sum::<u32>()
}

/// The same, of this process's threads of a name.
fn thread_cpu(name: &str) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named = tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name));
    named
        .map(|task| cpu(&task.path().join("stat").to_string_lossy()))
        .sum()
}
