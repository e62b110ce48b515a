//! Flushing: bringing what was written to the disk, many writers' bytes with one sync.
//!
//! In: files that were written. Out: they are synced, side by side on a few threads. Always: a file waits once,
//! however many wrote to it, so that writes that come during a sync share the next one; never on async threads.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Condvar, Mutex};

/// Something written that is not on disk yet: a partition, or the consumers' offsets.
pub(crate) trait Flush: Send + Sync {
    /// Syncs it and tells those who wait. Blocks.
    fn flush(&self);
}

/// Files that wait for a sync.
#[derive(Default)]
pub(crate) struct Flusher {
    /// Bounded by the number of files: each is here at most once.
    due: Mutex<VecDeque<Arc<dyn Flush>>>,
    /// The same, until the interval is over.
    later: Mutex<Vec<Arc<dyn Flush>>>,
    wake: Condvar,
    stopping: AtomicBool,
}

impl Flusher {
    /// Has it synced as soon as a thread is free.
    pub(crate) fn now(&self, file: Arc<dyn Flush>) {
        self.due.lock().push_back(file);
        self.wake.notify_one();
    }

    /// Has it synced at the end of the interval.
    pub(crate) fn later(&self, file: Arc<dyn Flush>) {
        self.later.lock().push(file);
    }

    /// The interval is over.
    pub(crate) fn tick(&self) {
        let later = std::mem::take(&mut *self.later.lock());
        if !later.is_empty() {
            self.due.lock().extend(later);
            self.wake.notify_all();
        }
    }

    /// Syncs what comes until [`Flusher::stop`], and then what is left. Blocks its thread.
    pub(crate) fn work(&self) {
        while let Some(file) = self.next() {
            file.flush();
        }
    }

    fn next(&self) -> Option<Arc<dyn Flush>> {
        let mut due = self.due.lock();
        loop {
            if let Some(file) = due.pop_front() {
                return Some(file);
            }
            if self.stopping.load(Ordering::Acquire) {
                return None;
            }
            self.wake.wait(&mut due);
        }
    }

    /// Lets the threads end when nothing waits any more.
    pub(crate) fn stop(&self) {
        self.tick();
        let _due = self.due.lock();
        self.stopping.store(true, Ordering::Release);
        self.wake.notify_all();
    }
}
