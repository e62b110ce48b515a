//! Bounded reads: a range of one partition, for those who come with an older cursor.
//!
//! In: a partition and two offsets. Out: the records between them. Always: a read ends by its deadline; a
//! range that holds nothing ends too; what is gone from the beginning is told.

use std::time::Duration;

use carillon_chassis::{metrics::Metrics, tasks::Tasks};

use crate::{BusConfig, BusError, Record};

/// What a bounded read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangePage {
    /// In offset order.
    pub records: Vec<Record>,
    /// Where to go on; `to` when the range is complete.
    pub next: i64,
    /// The oldest offset that could be read; above `from`, what was below it is gone.
    pub earliest: i64,
}

/// Reads ranges on a few OS threads.
#[derive(Debug)]
pub struct RangeReader {}

impl RangeReader {
    /// Starts `threads` readers of a topic, each with a connection of its own.
    pub fn new(
        _config: &BusConfig,
        _topic: &str,
        _threads: usize,
        _metrics: &Metrics,
        _tasks: &Tasks,
    ) -> Result<Self, BusError> {
        unimplemented!()
    }

    /// Reads `from..to` of a partition, or as much as `max_bytes` of keys and values (at least one record).
    pub async fn read(
        &self,
        _partition: i32,
        _from: i64,
        _to: i64,
        _max_bytes: usize,
        _deadline: Duration,
    ) -> Result<RangePage, BusError> {
        unimplemented!()
    }
}
