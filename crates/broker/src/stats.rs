//! Stats: what the broker has done, as plain numbers.
//!
//! In: counts from every room. Out: atomics that a metrics registry may read. Always: counting never locks.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counters since the start, and gauges.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections now.
    pub connections: AtomicUsize,
    /// Connections closed because there were too many.
    pub connections_refused: AtomicU64,
    /// Connections closed because of bytes that are no request.
    pub protocol_errors: AtomicU64,
    /// Requests read.
    pub requests: AtomicU64,
    /// Record batches appended.
    pub batches_appended: AtomicU64,
    /// Records appended.
    pub records_appended: AtomicU64,
    /// Bytes appended.
    pub bytes_appended: AtomicU64,
    /// Batches that an idempotent producer sent again and that were not appended again.
    pub batches_deduplicated: AtomicU64,
    /// Bytes of records sent to consumers.
    pub bytes_fetched: AtomicU64,
    /// Fetches that found nothing and waited.
    pub fetches_waited: AtomicU64,
    /// Fetches that had to read files.
    pub fetches_from_disk: AtomicU64,
    /// Files synced.
    pub syncs: AtomicU64,
    /// Appends and syncs that the disk refused.
    pub storage_errors: AtomicU64,
    /// Bytes cut from torn tails at the start.
    pub torn_bytes_cut: AtomicU64,
    /// Log bytes read at the start.
    pub recovery_bytes_scanned: AtomicU64,
    /// Group rebalances completed.
    pub rebalances: AtomicU64,
    /// Segment files open now.
    pub open_files: AtomicUsize,
    /// Bytes of fresh records in memory now.
    pub tail_cache_bytes: AtomicUsize,
}

pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
