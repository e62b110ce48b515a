//! Open files: segments are opened when they are needed, and only so many stay open.
//!
//! In: a path. Out: its file. Always: at most the limit stay open besides those in use this moment; most of
//! the process's descriptors belong to sockets.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    path::PathBuf,
    sync::{Arc, Weak, atomic::Ordering},
};

use parking_lot::Mutex;

use crate::stats::Stats;

/// All segment files that stay open, the one opened first in front.
pub(crate) struct OpenFiles {
    limit: usize,
    /// Bounded by `limit`: the one in front is closed for the next.
    open: Mutex<VecDeque<Weak<Slot>>>,
    stats: Arc<Stats>,
}

/// One file that may be open.
pub(crate) struct Slot {
    path: PathBuf,
    file: Mutex<Option<Arc<File>>>,
    stats: Arc<Stats>,
}

impl OpenFiles {
    pub(crate) fn new(limit: usize, stats: Arc<Stats>) -> Self {
        Self {
            limit: limit.max(1),
            open: Mutex::default(),
            stats,
        }
    }

    /// A place for a file, which stays closed for now.
    pub(crate) fn slot(&self, path: PathBuf) -> Arc<Slot> {
        Arc::new(Slot {
            path,
            file: Mutex::default(),
            stats: Arc::clone(&self.stats),
        })
    }

    /// The slot's file, opened for reading and writing, and created when it is not there.
    pub(crate) fn get(&self, slot: &Arc<Slot>) -> io::Result<Arc<File>> {
        let mut held = slot.file.lock();
        if let Some(file) = &*held {
            return Ok(Arc::clone(file));
        }
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&slot.path);
        let file = Arc::new(options?);
        *held = Some(Arc::clone(&file));
        drop(held);
        self.stats.open_files.fetch_add(1, Ordering::Relaxed);
        if let Some(oldest) = self.admit(slot) {
            oldest.close();
        }
        Ok(file)
    }

    /// Lists a slot as open; gives the one to close for it.
    fn admit(&self, slot: &Arc<Slot>) -> Option<Arc<Slot>> {
        let mut open = self.open.lock();
        open.push_back(Arc::downgrade(slot));
        if open.len() <= self.limit {
            return None;
        }
        // Slots of deleted topics are gone already.
        while let Some(front) = open.pop_front() {
            if let Some(alive) = front.upgrade() {
                return Some(alive);
            }
        }
        None
    }
}

impl Slot {
    fn close(&self) {
        if self.file.lock().take().is_some() {
            self.stats.open_files.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_files_stay_open_and_a_closed_one_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let stats = Arc::new(Stats::default());
        let files = OpenFiles::new(2, Arc::clone(&stats));
        let slots: Vec<_> = (0..5)
            .map(|i| files.slot(dir.path().join(i.to_string())))
            .collect();
        for slot in slots.iter().chain(&slots) {
            files.get(slot).unwrap();
            assert!(stats.open_files.load(Ordering::Relaxed) <= 2);
        }
        drop(slots);
        assert_eq!(stats.open_files.load(Ordering::Relaxed), 0);
    }
}
