//! Syncing a partition: what happens on the flusher's threads.
//!
//! In: a partition with bytes in the page cache. Out: they are on disk, producers and consumers are told, the
//! segment is sealed when it is full. Always: after a failed sync, what was not acknowledged is taken back.

use std::{fs::File, io, path::Path, sync::Arc};

use tracing::{error, warn};

use super::{
    index::Index,
    partition::{Active, Log, Partition},
    producers::Producers,
    recovery,
    segment::{self, Sealed},
};
use crate::{disk, error::BrokerError, flush::Flush, stats::add};

impl Flush for Partition {
    fn flush(&self) {
        let due = {
            let log = self.log.lock();
            let active = log.active.as_ref();
            active.map(|a| {
                (
                    Arc::clone(&a.slot),
                    a.index.position,
                    a.entry_synced,
                    log.next_offset,
                )
            })
        };
        if let Some((slot, position, entry_synced, end)) = due {
            let file = self.environment.files.get(&slot);
            match file.and_then(|file| self.sync(&file, entry_synced)) {
                Ok(()) => self.synced(position, end),
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

    fn synced(&self, position: u64, end: i64) {
        let mut log = self.log.lock();
        let Some(active) = &mut log.active else { return };
        active.entry_synced = true;
        active.synced_position = active.synced_position.max(position);
        self.release(&mut log, end);
        self.upkeep(log);
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

    /// Seals a full segment, or saves the index of one that has grown. Neither can lose records.
    fn upkeep(&self, mut log: parking_lot::MutexGuard<'_, Log>) {
        let Some(active) = &log.active else { return };
        if active.index.position >= self.settings().segment_bytes() {
            if let Err(error) = self.roll(&mut log) {
                warn!(dir = %self.dir.display(), error = %error, "segment not sealed, it grows on");
            }
            return;
        }
        if active.synced_position - active.saved_position < self.environment.limits.checkpoint_bytes {
            return;
        }
        if let Err(error) = self.sync_rest(&mut log) {
            warn!(dir = %self.dir.display(), error = %error, "index not saved");
            return;
        }
        let Some(active) = &log.active else { return };
        let (index, producers) = (active.index.clone(), log.producers.clone());
        drop(log);
        match self.save(&index, &producers) {
            Ok(()) => self.saved(&index),
            Err(error) => warn!(dir = %self.dir.display(), error = %error, "index not saved"),
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

    /// Syncs what came during the last sync, under the lock: only when an index is due, once in megabytes.
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

    /// Ends the active segment.
    fn roll(&self, log: &mut Log) -> io::Result<()> {
        self.sync_rest(log)?;
        let Some(active) = &log.active else { return Ok(()) };
        self.save(&active.index, &log.producers)?;
        let sealed = Sealed {
            base_offset: active.index.base_offset,
            next_offset: active.index.next_offset,
            max_timestamp: active.index.max_timestamp,
        };
        log.active = Some(self.begin_segment(sealed.next_offset)?);
        log.sealed.push(sealed);
        Ok(())
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
