//! The server: takes the port, recovers the logs, lets connections in, and stops in order.
//!
//! In: options. Out: a running broker. Always: the directory is locked, the logs are whole and the port is taken
//! before [`Broker::bind`] returns; [`Broker::run`] returns after everything is on disk.

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    connection, disk,
    error::BrokerError,
    flush::Flusher,
    groups::Groups,
    handlers::Node,
    log::open_files::OpenFiles,
    options::{Fsync, Options},
    producer_ids::ProducerIds,
    stats::{Stats, add},
    topics::{Environment, Topics},
};

/// How often memory of quiet partitions is freed.
const SWEEP: Duration = Duration::from_secs(1);
/// After a failed accept (no descriptors left): how long until the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A broker that has its port and its logs, and does not serve yet.
pub struct Broker {
    listener: TcpListener,
    address: SocketAddr,
    node: Arc<Node>,
    environment: Arc<Environment>,
    fsync: Fsync,
    /// Keeps other processes out of the directory.
    lock: File,
}

impl Broker {
    /// Locks the directory, recovers the logs and takes the port.
    ///
    /// # Errors
    /// When the directory is in use or damaged, the address is taken, or it can be reached from other machines
    /// and that was not allowed.
    pub async fn bind(options: Options) -> Result<Self, BrokerError> {
        check(&options)?;
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|source| BrokerError::Listen {
                address: options.listen,
                source,
            })?;
        let address = listener.local_addr().map_err(|source| BrokerError::Listen {
            address: options.listen,
            source,
        })?;
        let opened = tokio::task::spawn_blocking(move || open(options, address)).await;
        let (node, environment, fsync, lock) = opened.map_err(|panic| BrokerError::Metadata {
            path: Path::new("").to_owned(),
            reason: panic.to_string(),
        })??;
        Ok(Self {
            listener,
            address,
            node: Arc::new(node),
            environment,
            fsync,
            lock,
        })
    }

    /// The address that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What the broker has done so far.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.node.stats)
    }

    /// Serves until the token is cancelled; then syncs and closes everything.
    ///
    /// # Errors
    /// When something could not be brought to the disk at the end.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), BrokerError> {
        info!(address = %self.address, "embedded broker serves: one machine, no replication");
        let flushers = self.start_flushers();
        let _released = Released(Arc::clone(&self.environment.flusher));
        let mut connections = JoinSet::new();
        let mut beside = JoinSet::new();
        beside.spawn(tick(Arc::clone(&self.environment), self.fsync));
        beside.spawn(Arc::clone(&self.node.groups).expire());
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.accept(&mut connections) => {}
        }
        connections.shutdown().await;
        beside.shutdown().await;
        self.close(flushers).await
    }

    fn start_flushers(&self) -> JoinSet<()> {
        let mut flushers = JoinSet::new();
        for _ in 0..self.environment.limits.flush_threads.max(1) {
            let flusher = Arc::clone(&self.environment.flusher);
            flushers.spawn_blocking(move || flusher.work());
        }
        flushers
    }

    async fn accept(&self, connections: &mut JoinSet<()>) {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, _)) => self.admit(socket, connections),
                    Err(error) => {
                        warn!(error = %error, "connection not accepted");
                        sleep_until(Instant::now() + ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next() => {
                    if ended.is_err_and(|error| error.is_panic()) {
                        error!("connection handler panicked");
                    }
                    self.node.stats.connections.store(connections.len(), Ordering::Relaxed);
                }
            }
        }
    }

    fn admit(&self, socket: TcpStream, connections: &mut JoinSet<()>) {
        if connections.len() >= self.node.limits.connections {
            add(&self.node.stats.connections_refused, 1);
            return;
        }
        connections.spawn(connection::serve(Arc::clone(&self.node), socket));
        self.node
            .stats
            .connections
            .store(connections.len(), Ordering::Relaxed);
    }

    async fn close(self, mut flushers: JoinSet<()>) -> Result<(), BrokerError> {
        self.environment.flusher.stop();
        while flushers.join_next().await.is_some() {}
        let node = Arc::clone(&self.node);
        let closed = tokio::task::spawn_blocking(move || {
            node.topics.close()?;
            node.groups.close()
        });
        let result = closed.await.unwrap_or(Ok(()));
        info!("embedded broker closed");
        drop(self.lock);
        result
    }
}

/// Lets the flusher's threads end even when `run` is dropped half-way: a runtime waits for its blocking threads.
struct Released(Arc<Flusher>);

impl Drop for Released {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn check(options: &Options) -> Result<(), BrokerError> {
    if !options.listen.ip().is_loopback() && !options.allow_remote {
        return Err(BrokerError::NotLoopback(options.listen));
    }
    if options.default_partitions < 1 {
        return Err(BrokerError::Option {
            option: "default_partitions",
            reason: "must be at least 1",
        });
    }
    if options.fsync == Fsync::Interval(Duration::ZERO) {
        return Err(BrokerError::Option {
            option: "fsync interval",
            reason: "must be longer than nothing",
        });
    }
    Ok(())
}

type Opened = (Node, Arc<Environment>, Fsync, File);

fn open(options: Options, address: SocketAddr) -> Result<Opened, BrokerError> {
    disk::create_dir(&options.data_dir)?;
    let lock = disk::lock_dir(&options.data_dir)?;
    let stats = Arc::new(Stats::default());
    let environment = Arc::new(Environment {
        sync_each: options.fsync == Fsync::Each,
        segment_bytes: options.segment_bytes,
        limits: options.limits.clone(),
        clock: options.clock.clone(),
        files: OpenFiles::new(options.limits.open_files, Arc::clone(&stats)),
        stats: Arc::clone(&stats),
        flusher: Arc::new(Flusher::default()),
        tails: Mutex::default(),
    });
    let topics = Topics::open(options.data_dir.join("topics"), Arc::clone(&environment))?;
    let groups = Groups::open(&options, Arc::clone(&environment))?;
    let (host, port) = options
        .advertised
        .unwrap_or_else(|| (address.ip().to_string(), address.port()));
    let node = Node {
        cluster_id: cluster_id(&options.data_dir, environment.now_ms())?,
        host,
        port,
        default_partitions: options.default_partitions,
        auto_create_topics: options.auto_create_topics,
        answer_memory: Arc::new(Semaphore::new((options.limits.answer_memory / 1024).max(1))),
        limits: options.limits,
        stats,
        topics: Arc::new(topics),
        groups,
        producer_ids: Arc::new(ProducerIds::open(options.data_dir.join("producer-ids"))?),
    };
    Ok((node, environment, options.fsync, lock))
}

/// The directory's own name, made at its first use.
fn cluster_id(dir: &Path, now_ms: i64) -> Result<String, BrokerError> {
    let path = dir.join("cluster-id");
    if let Some(bytes) = disk::read_if_present(&path)? {
        return Ok(String::from_utf8_lossy(&bytes).trim().to_owned());
    }
    let id = format!("carillon-{now_ms:x}-{:x}", std::process::id());
    disk::write_atomically(&path, id.as_bytes()).map_err(BrokerError::io("write", &path))?;
    Ok(id)
}

/// Flushes at intervals, if that was chosen, and frees memory of quiet partitions.
async fn tick(environment: Arc<Environment>, fsync: Fsync) {
    let every = match fsync {
        Fsync::Each => SWEEP,
        Fsync::Interval(every) => every,
    };
    let (mut flush, mut sweep) = (interval(every), interval(SWEEP));
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = flush.tick() => environment.flusher.tick(),
            _ = sweep.tick() => environment.sweep_tails(),
        }
    }
}
