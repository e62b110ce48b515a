//! A partition: where its records are appended, and who waits for them.
//!
//! In: checked batches. Out: their offsets, and word when they are on disk. Always: offsets have no gaps; the
//! high watermark never passes what is synced (with `Fsync::Each`); a refused append leaves no trace.

use std::{
    collections::VecDeque,
    fs, io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tracing::error;

use super::{
    batch::{self, Header},
    index::Index,
    open_files::Slot,
    producers::{Producers, Sequence},
    recovery,
    segment::{self, Sealed},
    tail::Tail,
};
use crate::{
    error::BrokerError,
    stats::add,
    topics::{Environment, Settings},
};

/// One partition of a topic.
pub(crate) struct Partition {
    pub(super) dir: PathBuf,
    pub(super) environment: Arc<Environment>,
    settings: Arc<Settings>,
    pub(super) high_watermark: AtomicI64,
    pub(super) log: Mutex<Log>,
    /// Bounded by connections: each is here at most once, and closed ones are dropped.
    watchers: Mutex<Vec<Weak<Notify>>>,
    deleted: AtomicBool,
    /// Whether records came since the last sweep of the tails.
    fresh: AtomicBool,
    /// Why its files could not be read, as it was logged last.
    pub(super) told_trouble: Mutex<String>,
    /// Itself, for the queue of files to sync.
    pub(super) this: Weak<Partition>,
}

/// What the lock protects.
pub(super) struct Log {
    pub(super) sealed: Vec<Sealed>,
    /// The segment that is written; `None` until the first append.
    pub(super) active: Option<Active>,
    pub(super) next_offset: i64,
    /// Everything before this offset is on disk.
    pub(super) synced_offset: i64,
    pub(super) producers: Producers,
    pub(super) tail: Tail,
    /// Bounded by the requests in flight of all connections; rising offsets.
    pub(super) waiting: VecDeque<(i64, oneshot::Sender<bool>)>,
    /// Whether it stands in the flusher's queue or is being flushed.
    pub(super) queued: bool,
    /// A failed write left bytes that could not be taken back: they must go before the next append.
    pub(super) dirty_end: bool,
    /// A failed sync could not be taken back: that is tried again before the next append.
    pub(super) broken: bool,
    /// The broker's time that was given last; `None` until the first append that is given one.
    stamped_ms: Option<i64>,
    pub(super) deleted: bool,
}

/// The segment that is written.
pub(super) struct Active {
    pub(super) slot: Arc<Slot>,
    /// Covers the whole segment, synced or not.
    pub(super) index: Index,
    pub(super) synced_position: u64,
    /// How much of the segment its index file covers.
    pub(super) saved_position: u64,
    /// Whether the directory entries of this file are on disk.
    pub(super) entry_synced: bool,
}

/// Where a batch went.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// The broker's time, if the topic's records carry that.
    pub(crate) append_time: Option<i64>,
    /// `true` when it is on disk, `false` when it was taken back; `None` when nobody has to wait.
    pub(crate) synced: Option<oneshot::Receiver<bool>>,
    /// It was taken back.
    pub(crate) lost: bool,
}

impl Appended {
    /// Takes note of what the disk said.
    pub(crate) fn settle(&mut self, synced: bool) {
        self.synced = None;
        self.lost = !synced;
    }
}

/// Why a batch was not appended.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("a batch before this one is missing")]
    OutOfOrder,
    #[error("a newer incarnation of this producer has written")]
    OldEpoch,
    #[error("the topic was deleted")]
    Deleted,
    #[error("the disk refused the write")]
    Storage,
}

impl Partition {
    /// Reads a partition back from its directory, which need not be there.
    pub(crate) fn open(
        dir: PathBuf,
        environment: Arc<Environment>,
        settings: Arc<Settings>,
    ) -> Result<Arc<Self>, BrokerError> {
        let limits = &environment.limits;
        let recovered = match dir.is_dir() {
            true => recovery::recover(&dir, limits.producers, &environment.stats)?,
            false => recovery::Recovered::default(),
        };
        let active = recovered.active.map(|index| Active {
            slot: environment.files.slot(segment::log_path(&dir, index.base_offset)),
            // Scanned bytes may be in the page cache only: the first flush syncs them again.
            synced_position: index.position,
            saved_position: recovered.saved,
            entry_synced: false,
            index,
        });
        let end = active.as_ref().map_or(0, |a| a.index.next_offset);
        let log = Log {
            sealed: recovered.sealed,
            active,
            next_offset: end,
            synced_offset: end,
            producers: recovered.producers,
            tail: Tail::new(limits.tail_cache, Arc::clone(&environment.stats)),
            waiting: VecDeque::new(),
            queued: false,
            dirty_end: false,
            broken: false,
            stamped_ms: None,
            deleted: false,
        };
        let partition = Arc::new_cyclic(|this| Self {
            dir,
            environment,
            settings,
            high_watermark: AtomicI64::new(end),
            log: Mutex::new(log),
            watchers: Mutex::default(),
            deleted: AtomicBool::new(false),
            fresh: AtomicBool::new(false),
            told_trouble: Mutex::default(),
            this: Weak::clone(this),
        });
        partition.sync_recovered()?;
        Ok(partition)
    }

    /// Appends a batch that was checked. The write goes to the page cache; the sync is another thread's.
    pub(crate) fn append(&self, mut batch: BytesMut, mut header: Header) -> Result<Appended, AppendError> {
        let mut log = self.log.lock();
        if log.deleted {
            return Err(AppendError::Deleted);
        }
        if log.broken && self.take_back(&mut log).is_err() {
            return Err(AppendError::Storage);
        }
        match log.producers.judge(&header) {
            Sequence::Next => {}
            Sequence::Duplicate(base_offset) => return Ok(self.repeat(&mut log, base_offset, &header)),
            Sequence::OutOfOrder => return Err(AppendError::OutOfOrder),
            Sequence::OldEpoch => return Err(AppendError::OldEpoch),
        }
        let append_time = self
            .settings
            .log_append_time()
            .then(|| self.append_time(&mut log));
        if let Some(now_ms) = append_time {
            batch::stamp(&mut batch, &mut header, now_ms);
        }
        header.base_offset = log.next_offset;
        batch::place(&mut batch, header.base_offset);
        if let Err(error) = self.write(&mut log, &batch) {
            add(&self.environment.stats.storage_errors, 1);
            error!(dir = %self.dir.display(), error = %error, "append failed");
            return Err(AppendError::Storage);
        }
        self.note(&mut log, &header, batch);
        let synced = self.schedule(&mut log, header.next_offset());
        drop(log);
        if synced.is_none() {
            self.raise(header.next_offset());
        }
        Ok(Appended {
            base_offset: header.base_offset,
            append_time,
            synced,
            lost: false,
        })
    }

    /// The broker's time, which never falls within a partition, though the machine's clock may.
    fn append_time(&self, log: &mut Log) -> i64 {
        let before = log.stamped_ms.unwrap_or_else(|| self.last_stamp(log));
        let now_ms = self.environment.now_ms().max(before);
        log.stamped_ms = Some(now_ms);
        now_ms
    }

    /// A batch that is here already is acknowledged again, but not before it is on disk.
    fn repeat(&self, log: &mut Log, base_offset: i64, header: &Header) -> Appended {
        add(&self.environment.stats.batches_deduplicated, 1);
        let end = base_offset + i64::from(header.records);
        let synced = (self.environment.sync_each && end > log.synced_offset)
            .then(|| self.schedule(log, end))
            .flatten();
        Appended {
            base_offset,
            append_time: None,
            synced,
            lost: false,
        }
    }

    fn write(&self, log: &mut Log, batch: &[u8]) -> io::Result<()> {
        if log.active.is_none() {
            log.active = Some(self.begin_segment(log.next_offset)?);
        }
        let Some(active) = &log.active else { return Ok(()) };
        let file = self.environment.files.get(&active.slot)?;
        let end = active.index.position;
        if log.dirty_end {
            file.set_len(end)?;
            log.dirty_end = false;
        }
        file.write_all_at(batch, end).inspect_err(|_| {
            // A full disk may have taken a part.
            log.dirty_end = file.set_len(end).is_err();
        })
    }

    pub(super) fn begin_segment(&self, base_offset: i64) -> io::Result<Active> {
        fs::create_dir_all(&self.dir)?;
        let slot = self
            .environment
            .files
            .slot(segment::log_path(&self.dir, base_offset));
        self.environment.files.get(&slot)?;
        Ok(Active {
            slot,
            index: Index::new(base_offset),
            synced_position: 0,
            saved_position: 0,
            entry_synced: false,
        })
    }

    fn note(&self, log: &mut Log, header: &Header, batch: BytesMut) {
        if let Some(active) = &mut log.active {
            active.index.note(header);
        }
        log.next_offset = header.next_offset();
        log.producers.note(header, self.environment.limits.producers);
        let stats = &self.environment.stats;
        add(&stats.batches_appended, 1);
        add(&stats.records_appended, u64::from(header.records.unsigned_abs()));
        add(&stats.bytes_appended, batch.len() as u64);
        if log.tail.is_empty() {
            self.environment.tails.lock().push(Weak::clone(&self.this));
        }
        log.tail
            .push(header.base_offset, header.next_offset(), batch.freeze());
        self.fresh.store(true, Ordering::Relaxed);
    }

    /// Has the log synced, now or later; gives what to wait on if the caller has to.
    fn schedule(&self, log: &mut Log, end: i64) -> Option<oneshot::Receiver<bool>> {
        let each = self.environment.sync_each;
        if !log.queued
            && let Some(this) = self.this.upgrade()
        {
            log.queued = true;
            match each {
                true => self.environment.flusher.now(this),
                false => self.environment.flusher.later(this),
            }
        }
        if !each {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        log.waiting.push_back((end, sender));
        Some(receiver)
    }

    /// Lets consumers see what is before `offset`, and wakes those who wait for it.
    pub(super) fn raise(&self, offset: i64) {
        self.high_watermark.fetch_max(offset, Ordering::AcqRel);
        let watchers = std::mem::take(&mut *self.watchers.lock());
        for watcher in watchers.iter().filter_map(Weak::upgrade) {
            watcher.notify_one();
        }
    }

    /// Has the watcher woken, once, when there is more to read or the topic is deleted.
    pub(crate) fn watch(&self, watcher: &Arc<Notify>) {
        let watcher = Arc::downgrade(watcher);
        let mut watchers = self.watchers.lock();
        if watchers.iter().any(|w| w.ptr_eq(&watcher)) {
            return;
        }
        watchers.retain(|w| w.strong_count() > 0);
        watchers.push(watcher);
    }

    /// Offset behind the last record that consumers may see.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// Offset of the first record that is kept. Nothing is removed yet.
    pub(crate) fn start_offset(&self) -> i64 {
        0
    }

    /// The topic's settings.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ends all writing; the files may be removed afterwards.
    pub(crate) fn delete(&self) {
        let mut log = self.log.lock();
        log.deleted = true;
        self.deleted.store(true, Ordering::Release);
        log.active = None;
        log.tail.clear();
        log.waiting.clear();
        drop(log);
        self.raise(0);
    }

    /// Whether the topic was deleted.
    pub(crate) fn deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Drops the tail of a partition that nothing was written to since the last sweep; says whether it stays.
    pub(crate) fn sweep_tail(&self) -> bool {
        if self.fresh.swap(false, Ordering::Relaxed) {
            return true;
        }
        let mut log = self.log.lock();
        // Between the swap and the lock there may have been an append: then it stays, too.
        if self.fresh.load(Ordering::Relaxed) {
            return true;
        }
        log.tail.clear();
        false
    }
}
