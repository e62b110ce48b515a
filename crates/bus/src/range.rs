//! Bounded reads: a range of one partition, for those who come with an older cursor.
//!
//! In: a partition and two offsets. Out: the records between them. Always: a read ends by its deadline; a
//! range that holds nothing ends too; what is gone from the beginning is told.

use std::{
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{BusConfig, BusError, Record, client::Watch, lag::LagOf, thread::PollThread};

mod worker;

/// Requests that may wait for a thread, per thread; above it, [`BusError::Busy`].
const WAITING_PER_THREAD: usize = 64;
/// How much longer than its deadline a read is waited for, so that the thread can say what it has.
const GRACE: Duration = Duration::from_millis(250);

/// What a bounded read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangePage {
    /// In offset order.
    pub records: Vec<Record>,
    /// Where to go on; `to` when the range is complete. Less, when `max_bytes` or the deadline ended the
    /// read, or when the partition ends before `to`.
    pub next: i64,
    /// The oldest offset that could be read; above `from`, what was below it is gone.
    pub earliest: i64,
}

/// Reads ranges on a few OS threads.
#[derive(Debug)]
pub struct RangeReader {
    /// Before the queue, because fields are dropped in this order: the threads end as told, not unasked.
    _threads: Vec<PollThread>,
    requests: SyncSender<Request>,
}

/// One read, on its way to a thread.
struct Request {
    partition: i32,
    from: i64,
    to: i64,
    max_bytes: usize,
    deadline: Instant,
    reply: oneshot::Sender<Result<RangePage, BusError>>,
}

impl RangeReader {
    /// Starts `threads` readers of a topic, each with a connection of its own.
    pub fn new(
        config: &BusConfig,
        topic: &str,
        threads: usize,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, BusError> {
        let threads = threads.max(1);
        let (requests, queue) = sync_channel(threads * WAITING_PER_THREAD);
        let queue = Arc::new(Mutex::new(queue));
        let watch = Watch::new(config, metrics, "range", LagOf::Nothing, Vec::new());
        let start = |_| {
            let worker = worker::Worker::new(config, topic, &watch, Arc::clone(&queue))?;
            PollThread::start("bus-range", Arc::clone(&watch), Some(tasks), move |stop| {
                worker.run(stop)
            })
        };
        Ok(Self {
            requests,
            _threads: (0..threads).map(start).collect::<Result<_, _>>()?,
        })
    }

    /// Reads `from..to` of a partition, or as much as `max_bytes` of keys and values (at least one record).
    ///
    /// # Errors
    /// `DeadlineExceeded` when nothing was read in time, `Busy` when too many reads wait.
    pub async fn read(
        &self,
        partition: i32,
        from: i64,
        to: i64,
        max_bytes: usize,
        deadline: Duration,
    ) -> Result<RangePage, BusError> {
        let (reply, answer) = oneshot::channel();
        let request = Request {
            partition,
            from,
            to,
            max_bytes,
            deadline: Instant::now() + deadline,
            reply,
        };
        self.requests.try_send(request).map_err(|e| match e {
            TrySendError::Full(_) => BusError::Busy,
            TrySendError::Disconnected(_) => BusError::Closed,
        })?;
        match tokio::time::timeout(deadline + GRACE, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(BusError::Closed),
            Err(_) => Err(BusError::DeadlineExceeded("reading a range")),
        }
    }
}
