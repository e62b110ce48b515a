//! Syncing a partition: what happens on the flusher's threads.
//!
//! In: a partition with bytes in the page cache. Out: they are on disk, producers and consumers are told, the
//! segment is sealed when it is full. Always: after a failed sync, what was not acknowledged is taken back.

use std::{fs::File, io, path::Path, sync::Arc};

use parking_lot::MutexGuard;
use tracing::{error, warn};

use super::{
    index::Index,
    open_files::Slot,
    partition::{Active, Log, Partition},
    producers::Producers,
    recovery,
    segment::{self, Sealed},
};
use crate::{disk, error::BrokerError, flush::Flush, stats::add};

/// What a turn is to bring to the disk, as it stood when the turn began.
struct Due {
    file: Arc<Slot>,
    position: u64,
    entry_synced: bool,
    end: i64,
    /// The index to be saved once everything that it tells of is on disk: when it has grown.
    index: Option<(Index, Producers)>,
}

impl Flush for Partition {
    fn flush(&self) {
        let due = self.due(&self.log.lock());
        if let Some(due) = due {
            let file = self.environment.files.get(&due.file);
            match file.and_then(|file| self.sync(&file, due.entry_synced)) {
                Ok(()) => self.synced(due),
                Err(error) => self.sync_failed(&error),
            }
        }
        self.settle();
    }
}

impl Partition {
    /// A process that was killed left its last bytes in the page cache: acknowledge nothing before them.
    pub(super) fn sync_recovered(&self) -> Result<(), BrokerError> {
        let log = self.log.lock();
        let Some(active) = log
            .active
            .as_ref()
            .filter(|a| a.saved_position < a.index.position)
        else {
            return Ok(());
        };
        let path = segment::log_path(&self.dir, active.index.base_offset);
        let file = File::options()
            .write(true)
            .open(&path)
            .map_err(BrokerError::io("open", &path))?;
        file.sync_all().map_err(BrokerError::io("sync", &path))
    }

    fn due(&self, log: &Log) -> Option<Due> {
        let active = log.active.as_ref()?;
        let grown = active.index.position.saturating_sub(active.saved_position);
        let save = grown >= self.environment.limits.checkpoint_bytes;
        Some(Due {
            file: Arc::clone(&active.slot),
            position: active.index.position,
            entry_synced: active.entry_synced,
            end: log.next_offset,
            index: save.then(|| (active.index.clone(), log.producers.clone())),
        })
    }

    fn sync(&self, file: &File, entry_synced: bool) -> io::Result<()> {
        add(&self.environment.stats.syncs, 1);
        file.sync_data()?;
        if entry_synced {
            return Ok(());
        }
        disk::sync_dir(&self.dir)?;
        self.dir.parent().map_or(Ok(()), disk::sync_dir)
    }

    /// Ends a turn: what came meanwhile waits for the next one. A partition is flushed by one thread at a time,
    /// so that its segments are sealed and its indexes saved in order.
    fn settle(&self) {
        let mut log = self.log.lock();
        log.queued = !log.deleted && !log.broken && log.next_offset > log.synced_offset;
        if !log.queued {
            return;
        }
        let Some(this) = self.this.upgrade() else { return };
        match self.environment.sync_each {
            true => self.environment.flusher.now(this),
            false => self.environment.flusher.later(this),
        }
    }

    fn synced(&self, due: Due) {
        let mut log = self.log.lock();
        let Some(active) = &mut log.active else { return };
        active.entry_synced = true;
        active.synced_position = active.synced_position.max(due.position);
        self.release(&mut log, due.end);
        self.upkeep(log, due.index);
    }

    /// Everything before `end` is on disk: consumers may see it, producers are told.
    fn release(&self, log: &mut Log, end: i64) {
        log.synced_offset = log.synced_offset.max(end);
        self.raise(end);
        while log.waiting.front().is_some_and(|(offset, _)| *offset <= end) {
            if let Some((_, waiting)) = log.waiting.pop_front() {
                // The connection may be gone.
                let _ = waiting.send(true);
            }
        }
    }

    /// Seals a full segment, and saves its index, or that of one that has grown. Neither can lose records; a sealed
    /// segment without its index is read from its beginning.
    fn upkeep(&self, mut log: MutexGuard<'_, Log>, grown: Option<(Index, Producers)>) {
        let Some(active) = &log.active else { return };
        let ended = if active.index.position < self.settings().segment_bytes() {
            Ok(grown)
        } else {
            self.roll(&mut log).map(Some)
        };
        // Appends go on while an index is written.
        drop(log);
        let saved = ended.and_then(|index| {
            let Some((index, producers)) = index else {
                return Ok(());
            };
            self.save(&index, &producers)?;
            self.saved(&index);
            Ok(())
        });
        if let Err(error) = saved {
            warn!(dir = %self.dir.display(), error = %error, "segment not sealed, or index not saved");
        }
    }

    fn save(&self, index: &Index, producers: &Producers) -> io::Result<()> {
        index.save(&segment::index_path(&self.dir, index.base_offset), producers)
    }

    fn saved(&self, index: &Index) {
        let mut log = self.log.lock();
        if let Some(active) = &mut log.active
            && active.index.base_offset == index.base_offset
        {
            active.saved_position = index.position;
        }
    }

    /// Syncs what came during the last sync, under the lock: only when a segment is full.
    fn sync_rest(&self, log: &mut Log) -> io::Result<()> {
        let Some(active) = &mut log.active else {
            return Ok(());
        };
        if active.synced_position < active.index.position {
            self.environment.files.get(&active.slot)?.sync_data()?;
            active.synced_position = active.index.position;
            let end = log.next_offset;
            self.release(log, end);
        }
        Ok(())
    }

    /// Ends the active segment. Gives its index, to be saved.
    fn roll(&self, log: &mut Log) -> io::Result<(Index, Producers)> {
        self.sync_rest(log)?;
        let next = self.begin_segment(log.next_offset)?;
        let ended = log.active.replace(next).map(|active| active.index);
        let index = ended.ok_or_else(|| io::Error::other("no segment is open"))?;
        log.sealed.push(Sealed {
            base_offset: index.base_offset,
            next_offset: index.next_offset,
            max_timestamp: index.max_timestamp,
        });
        Ok((index, log.producers.clone()))
    }

    fn sync_failed(&self, error: &io::Error) {
        add(&self.environment.stats.storage_errors, 1);
        error!(dir = %self.dir.display(), error = %error, "sync failed");
        let mut log = self.log.lock();
        if !self.environment.sync_each {
            // Acknowledged already: it is tried again after the next interval.
            return;
        }
        if let Err(error) = self.take_back(&mut log) {
            error!(dir = %self.dir.display(), error = %error, "log not readable after a failed sync");
            log.broken = true;
        }
        for (_, waiting) in log.waiting.drain(..) {
            let _ = waiting.send(false);
        }
    }

    /// Cuts the segment to what is synced. After a failed sync the kernel may have dropped the pages behind it.
    pub(super) fn take_back(&self, log: &mut Log) -> Result<(), BrokerError> {
        let Some(active) = &mut log.active else {
            return Ok(());
        };
        let path = segment::log_path(&self.dir, active.index.base_offset);
        let file = self
            .environment
            .files
            .get(&active.slot)
            .map_err(BrokerError::io("open", &path))?;
        file.set_len(active.synced_position)
            .map_err(BrokerError::io("cut", &path))?;
        let limits = &self.environment.limits;
        let recovered = recovery::recover(&self.dir, limits.producers, &self.environment.stats)?;
        if let Some(index) = recovered.active {
            active.index = index;
            active.saved_position = recovered.saved;
        }
        log.producers = recovered.producers;
        log.next_offset = log.synced_offset;
        log.tail.clear();
        log.broken = false;
        Ok(())
    }

    /// Syncs and saves everything, so that the next start has nothing to scan.
    pub(crate) fn close(&self) -> Result<(), BrokerError> {
        self.flush();
        let log = self.log.lock();
        let Some(Active {
            index,
            saved_position,
            synced_position,
            ..
        }) = &log.active
        else {
            return Ok(());
        };
        if log.deleted || *saved_position == index.position || *synced_position < index.position {
            return Ok(());
        }
        let path: &Path = &segment::index_path(&self.dir, index.base_offset);
        self.save(index, &log.producers)
            .map_err(BrokerError::io("write", path))
    }
}
