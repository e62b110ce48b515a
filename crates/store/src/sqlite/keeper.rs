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

/// Pages in the log (4 KiB each) from which on it should begin anew: 16 MiB.
const LONG_LOG: i64 = 4_096;

/// The writer's side.
pub(super) struct KeeperHandle {
    // One signal is enough: a full channel means that the keeper knows already.
    signal: SyncSender<()>,
    finish: Arc<AtomicBool>,
}

impl KeeperHandle {
    /// Something was committed.
    pub(super) fn written(&self) {
        let _ = self.signal.try_send(());
    }

    /// Whether the writer should finish the checkpoint now, before it writes.
    pub(super) fn wants_finish(&self) -> bool {
        self.finish.load(Ordering::Relaxed) && self.finish.swap(false, Ordering::Relaxed)
    }
}

/// The keeper's belongings.
pub(super) struct Keeper {
    log: PathBuf,
    fsync: Fsync,
    connection: Connection,
    signals: Receiver<()>,
    finish: Arc<AtomicBool>,
    checkpointed: Instant,
    failing: bool,
}

impl Keeper {
    /// A keeper on a connection of its own, and the writer's side of it.
    pub(super) fn new(path: &Path, fsync: Fsync, connection: Connection) -> (Self, KeeperHandle) {
        let (signal, signals) = sync_channel(1);
        let finish = Arc::new(AtomicBool::new(false));
        let keeper = Self {
            log: beside(path, "-wal"),
            fsync,
            connection,
            signals,
            finish: Arc::clone(&finish),
            checkpointed: Instant::now(),
            failing: false,
        };
        (keeper, KeeperHandle { signal, finish })
    }

    /// Works until the writer's side is gone.
    pub(super) fn run(mut self) {
        let pause = match self.fsync {
            Fsync::Full => CHECKPOINT_EVERY,
            Fsync::Interval(every) => every.clamp(Duration::from_millis(1), CHECKPOINT_EVERY),
        };
        while self.signals.recv().is_ok() {
            let more = self.gather(pause);
            if matches!(self.fsync, Fsync::Interval(_)) {
                let synced = File::open(&self.log).and_then(|log| log.sync_data());
                self.report(synced.map_err(|error| error.to_string()));
            }
            if !more || self.checkpointed.elapsed() >= CHECKPOINT_EVERY {
                self.carry_over();
            }
            if !more {
                return;
            }
        }
    }

    /// Lets writes gather for a pause; `false` when there will be no more.
    fn gather(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            match self
                .signals
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn carry_over(&mut self) {
        let done = checkpoint(&self.connection);
        self.checkpointed = Instant::now();
        if done.as_ref().is_ok_and(|pages| *pages >= LONG_LOG) {
            self.finish.store(true, Ordering::Relaxed);
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
