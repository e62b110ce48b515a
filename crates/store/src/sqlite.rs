//! The store on one machine: SQLite.
//!
//! In: batches, from any task. Out: answers after the commit.
//! Always: one thread writes, grouping what waits into one transaction; readers never wait for it.

use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use carillon_chassis::{clock::Clock, metrics::Metrics};
use parking_lot::RwLock;
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot, watch};

use self::{
    apply::{Outcome, Work},
    keeper::Keeper,
    meters::Meters,
    readers::Readers,
    sweep::Sweep,
    writer::{Job, Writer, not_queued},
};
use crate::{
    StoreError,
    calls::{Call, Calls},
};

mod answers;
mod apply;
mod failure;
mod keeper;
mod meters;
mod read;
mod readers;
pub(crate) mod schema;
mod settings;
mod sweep;
mod writer;

#[cfg(test)]
mod tests;

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// When it is on the disk: one fsync per group of writes.
    Full,
    /// When the operating system has it; the disk follows within this time. A killed process loses nothing,
    /// a machine that loses power loses up to this much.
    Interval(Duration),
}

/// How a SQLite store behaves.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// When a write counts as done.
    pub fsync: Fsync,
    /// Read connections, each at work on one read at a time; further reads wait.
    pub readers: usize,
    /// Most writes that wait for the writer; one more is `Unavailable` at once.
    pub queue: usize,
    /// Most bytes of payload in waiting writes; more is `Unavailable` at once.
    pub queue_bytes: usize,
    /// How long notifications and their time lines are kept.
    pub retention: Duration,
    /// How long a call may take before it is `Unavailable`.
    pub deadline: Duration,
    /// Most bytes that the file may grow to, without its log; `None` leaves it to the disk.
    pub max_bytes: Option<u64>,
    /// How often expired rows are looked for, when there is nothing to write.
    pub sweep_every: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            fsync: Fsync::Full,
            readers: 4,
            queue: 4_096,
            queue_bytes: 64 << 20,
            retention: Duration::from_secs(7 * 24 * 3600),
            deadline: Duration::from_secs(10),
            max_bytes: None,
            sweep_every: Duration::from_secs(60),
        }
    }
}

/// A store in one SQLite file.
pub struct SqliteStore {
    options: SqliteOptions,
    clock: Clock,
    meters: Meters,
    calls: Calls,
    /// Writes on their way to the writer. Full: `Unavailable` at once. `None` after closing.
    queue: RwLock<Option<SyncSender<Job>>>,
    /// What payload may wait, in KiB. Full: `Unavailable` at once.
    room: Arc<Semaphore>,
    readers: Readers,
    /// Ends when the writer has.
    ended: watch::Receiver<()>,
}

impl SqliteStore {
    /// Opens a file, creating or migrating it. Blocks for some milliseconds.
    ///
    /// # Errors
    /// `Corrupt` for a damaged or foreign file, `Refused` for one of a newer version, `Full` without room,
    /// else `Unavailable`.
    pub fn open(
        path: impl AsRef<Path>,
        options: SqliteOptions,
        clock: Clock,
        metrics: &Metrics,
    ) -> Result<Self, StoreError> {
        let path = Arc::new(path.as_ref().to_path_buf());
        let meters = Meters::new(metrics);
        let connection = settings::open_writer(&path, &options)?;
        let (keeper, handle) = Keeper::new(&path, options.fsync, settings::open_keeper(&path, &options)?);
        let readers = Readers::open(&path, &options)?;
        let (queue, jobs) = sync_channel(options.queue.max(1));
        let (end, ended) = watch::channel(());
        let writer = Writer {
            path: Arc::clone(&path),
            options: options.clone(),
            clock: clock.clone(),
            meters: meters.clone(),
            queue: jobs,
            keeper: handle,
            connection: Some(connection),
            sweep: Sweep::default(),
            next_lap: Instant::now() + options.sweep_every,
        };
        let keeping = thread("store-keeper", move || keeper.run())?;
        thread("store-writer", move || {
            writer.run();
            let _ = keeping.join();
            drop(end);
        })?;
        Ok(Self {
            room: Arc::new(Semaphore::new(kib(options.queue_bytes))),
            queue: RwLock::new(Some(queue)),
            options,
            clock,
            meters,
            calls: Calls::new(metrics),
            readers,
            ended,
        })
    }

    async fn write(&self, work: Work) -> Result<Outcome, StoreError> {
        let began = Instant::now();
        let answer = self.queued(work).await;
        self.calls.ended(Call::Write, began, &answer);
        answer
    }

    async fn queued(&self, work: Work) -> Result<Outcome, StoreError> {
        let share = kib(work.bytes()).min(kib(self.options.queue_bytes));
        let share = Arc::clone(&self.room)
            .try_acquire_many_owned(u32::try_from(share).unwrap_or(u32::MAX))
            .map_err(|_| StoreError::Unavailable("too many bytes wait to be written".to_owned()))?;
        let (answer, answered) = oneshot::channel();
        let job = Job { work, answer, share };
        let sent = match &*self.queue.read() {
            Some(queue) => queue.try_send(job),
            None => return Err(StoreError::Closed),
        };
        sent.map_err(|error| not_queued(&error))?;
        self.meters.waiting.inc();
        match tokio::time::timeout(self.options.deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StoreError::Unavailable(
                "the writer failed; the write is safe to repeat".to_owned(),
            )),
            Err(_) => Err(StoreError::Unavailable(
                "a write did not end within its deadline".to_owned(),
            )),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection, u64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let now = self.clock.unix_ms();
        let answer = self.readers.read(move |connection| read(connection, now)).await;
        self.calls.ended(Call::Read, began, &answer);
        answer
    }
}

fn thread(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, StoreError> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder
        .spawn(work)
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

/// Bytes as KiB, rounded up.
fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024).clamp(1, Semaphore::MAX_PERMITS)
}
