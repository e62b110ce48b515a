//! The keeper: a thread that carries the log into the file, so that the writer need not.
//!
//! In: word that something was written. Out: a log that stays short, and with interval fsync, on the disk.
//! Always: it never holds the writer's lock; it asks the writer to finish a checkpoint only when the log has
//! grown long, because only between two writes can a log begin anew.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tracing::warn;

use super::{Fsync, schema::beside};

/// How often the log is carried over, while something is written.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Pages in the log (4 KiB each) from which on it should begin anew: 64 MiB. Nothing is written while the writer
/// finishes a checkpoint, some ten milliseconds for two syncs: with 16 MiB and 10,000 notifications a second that was
/// more than every hundredth moment, and so everybody's p99. A killed process reads the log again when it starts.
const LONG_LOG: i64 = 16_384;

/// The writer's side.
pub(super) struct KeeperHandle {
    // Full: the keeper has been told and has not looked yet, which is enough.
    signal: SyncSender<()>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Something was written since the keeper last looked: no second signal is needed.
    told: AtomicBool,
    /// The log is long: the writer should finish the checkpoint.
    finish: AtomicBool,
}

impl KeeperHandle {
    /// Something was committed.
    pub(super) fn written(&self) {
        if !self.shared.told.swap(true, Ordering::AcqRel) {
            let _ = self.signal.try_send(());
        }
    }

    /// Whether the writer should finish the checkpoint now, before it writes.
    pub(super) fn wants_finish(&self) -> bool {
        let finish = &self.shared.finish;
        finish.load(Ordering::Relaxed) && finish.swap(false, Ordering::Relaxed)
    }
}

/// The keeper's belongings.
pub(super) struct Keeper {
    log: PathBuf,
    fsync: Fsync,
    connection: Connection,
    signals: Receiver<()>,
    shared: Arc<Shared>,
    /// The first write that is not carried over.
    since: Option<Instant>,
    failing: bool,
}

impl Keeper {
    /// A keeper on a connection of its own, and the writer's side of it.
    pub(super) fn new(path: &Path, fsync: Fsync, connection: Connection) -> (Self, KeeperHandle) {
        let (signal, signals) = sync_channel(1);
        let shared = Arc::<Shared>::default();
        let keeper = Self {
            log: beside(path, "-wal"),
            fsync,
            connection,
            signals,
            shared: Arc::clone(&shared),
            since: None,
            failing: false,
        };
        (keeper, KeeperHandle { signal, shared })
    }

    /// Works until the writer's side is gone.
    pub(super) fn run(mut self) {
        loop {
            match self.listen() {
                Ok(()) => self.written(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self
                .since
                .is_some_and(|since| since.elapsed() >= CHECKPOINT_EVERY)
            {
                self.carry_over();
            }
        }
        if self.since.is_some() {
            self.carry_over();
        }
    }

    /// Waits for a write, and no longer than until a checkpoint is due.
    fn listen(&self) -> Result<(), RecvTimeoutError> {
        let Some(since) = self.since else {
            return self.signals.recv().map_err(RecvTimeoutError::from);
        };
        let due = since + CHECKPOINT_EVERY;
        self.signals
            .recv_timeout(due.saturating_duration_since(Instant::now()))
    }

    /// Lets more writes gather, and then brings the log to the disk, where commits do not.
    fn written(&mut self) {
        self.since.get_or_insert_with(Instant::now);
        let pause = match self.fsync {
            Fsync::Full => CHECKPOINT_EVERY,
            Fsync::Interval(every) => every.clamp(Duration::from_millis(1), CHECKPOINT_EVERY),
        };
        // No signal comes while `told` stands: this is a pause that ends early when the writer does.
        let _ = self.signals.recv_timeout(pause);
        self.shared.told.store(false, Ordering::Release);
        if matches!(self.fsync, Fsync::Interval(_)) {
            let synced = File::open(&self.log).and_then(|log| log.sync_data());
            self.report(synced.map_err(|error| error.to_string()));
        }
    }

    fn carry_over(&mut self) {
        let mut done = checkpoint(&self.connection);
        self.since = None;
        if done.as_ref().is_ok_and(|pages| *pages >= LONG_LOG) {
            // What came meanwhile, so that next to nothing is left to the writer.
            done = checkpoint(&self.connection);
            self.shared.finish.store(true, Ordering::Relaxed);
        }
        self.report(done.map(|_| ()).map_err(|error| error.to_string()));
    }

    /// Says it once when it begins to fail.
    fn report(&mut self, done: Result<(), String>) {
        if let (Err(error), false) = (&done, self.failing) {
            warn!(file = %self.log.display(), error, "the store's log could not be carried over, trying again");
        }
        self.failing = done.is_err();
    }
}

/// Carries over what no reader holds back, without waiting for anybody. Answers the pages in the log.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))
}
