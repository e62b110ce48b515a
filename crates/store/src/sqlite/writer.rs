//! The writer: the one thread that changes the file.
//!
//! In: jobs from a bounded queue. Out: to each caller its answer, after the commit that holds its work.
//! Always: what waits is written in one transaction; a job that fails alone is not its neighbours' failure;
//! a panic costs the group at work an `Unavailable`, and the thread goes on with a new connection.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, TrySendError},
    },
    time::{Duration, Instant},
};

use carillon_chassis::clock::Clock;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{error, warn};

use super::{
    SqliteOptions,
    apply::{Outcome, Work},
    failure::store_error,
    keeper::KeeperHandle,
    meters::Meters,
    settings,
    sweep::Sweep,
};
use crate::StoreError;

/// Most rows in one transaction: with more, the first caller would wait too long.
const GROUP_ROWS: usize = 4_096;

/// Most bytes of payload in one transaction.
const GROUP_BYTES: usize = 8 << 20;

/// Work with its caller.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) answer: oneshot::Sender<Result<Outcome, StoreError>>,
    /// Its share of the bound on waiting bytes, given back when it is done.
    pub(super) share: OwnedSemaphorePermit,
}

impl Job {
    /// Answers, when its share is given back: who has the answer may come with the next job.
    fn finish(self, result: Result<Outcome, StoreError>) {
        let Self { work, answer, share } = self;
        drop((work, share));
        let _ = answer.send(result);
    }
}

/// The writer's belongings.
pub(super) struct Writer {
    pub(super) path: Arc<PathBuf>,
    pub(super) options: SqliteOptions,
    pub(super) clock: Clock,
    pub(super) meters: Meters,
    pub(super) queue: Receiver<Job>,
    pub(super) keeper: KeeperHandle,
    /// `None` after a panic, until it is opened again.
    pub(super) connection: Option<Connection>,
    pub(super) sweep: Sweep,
    pub(super) next_lap: Instant,
}

impl Writer {
    /// Works until the queue's other end is gone and the queue is empty.
    pub(super) fn run(mut self) {
        while catch_unwind(AssertUnwindSafe(|| self.serve())).is_err() {
            self.meters.panics.inc();
            self.connection = None;
            error!(file = %self.path.display(), "the store's writer panicked and goes on with a new connection");
        }
        // Before the keeper hears of the end: the last connection that closes removes the log.
        self.connection = None;
    }

    fn serve(&mut self) {
        loop {
            let wait = self.next_lap.saturating_duration_since(Instant::now());
            match self.queue.recv_timeout(wait) {
                Ok(first) => self.group(first),
                Err(RecvTimeoutError::Timeout) => self.sweep(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // Without a pause for a long time, the sweep takes its slice between two groups.
            if self.next_lap + 10 * self.options.sweep_every < Instant::now() {
                self.sweep();
            }
        }
    }

    /// Takes what waits beside the first job, and writes it.
    fn group(&mut self, first: Job) {
        let (mut rows, mut bytes) = (first.work.rows(), first.work.bytes());
        let mut group = vec![first];
        while rows < GROUP_ROWS && bytes < GROUP_BYTES {
            let Ok(job) = self.queue.try_recv() else { break };
            rows += job.work.rows();
            bytes += job.work.bytes();
            group.push(job);
        }
        self.meters.waiting.sub(group.len() as i64);
        // Whoever has given up, at a deadline or by cancelling, needs nothing written: it is free to repeat.
        group.retain(|job| !job.answer.is_closed());
        if group.is_empty() {
            return;
        }
        self.meters.group_rows.observe(rows as f64);
        let began = Instant::now();
        self.write(group);
        self.meters.commit_seconds.observe(began.elapsed().as_secs_f64());
    }

    fn write(&mut self, group: Vec<Job>) {
        match self.commit(&group) {
            Ok(outcomes) => {
                for (job, outcome) in group.into_iter().zip(outcomes) {
                    job.finish(Ok(outcome));
                }
            }
            // One of them is at fault: each is tried for itself.
            Err(StoreError::Refused(_)) if group.len() > 1 => {
                for job in group {
                    self.write(vec![job]);
                }
            }
            Err(failure) => {
                if matches!(failure, StoreError::Full(_)) {
                    // Expired rows are room, too.
                    self.next_lap = self.next_lap.min(Instant::now() + Duration::from_secs(1));
                }
                for job in group {
                    job.finish(Err(failure.clone()));
                }
            }
        }
    }

    fn commit(&mut self, group: &[Job]) -> Result<Vec<Outcome>, StoreError> {
        let retention = self.options.retention;
        let finish_checkpoint = self.keeper.wants_finish();
        let path = Arc::clone(&self.path);
        let connection = self.connected()?;
        if finish_checkpoint {
            let _ = super::keeper::checkpoint(connection);
        }
        let mut write = || -> rusqlite::Result<Vec<Outcome>> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcomes = group.iter().map(|job| job.work.apply(&transaction, retention));
            let outcomes = outcomes.collect::<rusqlite::Result<Vec<_>>>()?;
            transaction.commit()?;
            Ok(outcomes)
        };
        let outcomes = write().map_err(|error| store_error(&path, &error))?;
        self.keeper.written();
        Ok(outcomes)
    }

    fn connected(&mut self) -> Result<&mut Connection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => settings::open_writer(&self.path, &self.options)?,
        };
        Ok(self.connection.insert(connection))
    }

    /// One slice of removing what has expired; at the end of a lap, a pause.
    fn sweep(&mut self) {
        let (now, retention) = (self.clock.unix_ms(), self.options.retention);
        let mut sweep = std::mem::take(&mut self.sweep);
        let slice = self
            .connected()
            .map(|connection| sweep.slice(connection, now, retention));
        self.next_lap = Instant::now();
        match slice {
            Ok(Ok(slice)) => {
                self.sweep = sweep;
                self.meters.expired.inc_by(slice.removed as u64);
                if slice.removed > 0 {
                    self.keeper.written();
                }
                if slice.lap_ended {
                    self.next_lap += self.options.sweep_every;
                }
            }
            Ok(Err(error)) => self.postpone(&store_error(&self.path, &error)),
            Err(error) => self.postpone(&error),
        }
    }

    fn postpone(&mut self, error: &StoreError) {
        self.next_lap += self.options.sweep_every.max(Duration::from_secs(1));
        warn!(error = %error, "removing expired rows failed, trying again later");
    }
}

/// What a full or closed queue means for a caller.
pub(super) fn not_queued(error: &TrySendError<Job>) -> StoreError {
    match error {
        TrySendError::Full(_) => StoreError::Unavailable("its queue of writes is full".to_owned()),
        TrySendError::Disconnected(_) => StoreError::Closed,
    }
}
