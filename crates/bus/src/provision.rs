//! Provisioning: topics as they should be, and where their partitions begin and end.
//!
//! In: specifications and names. Out: what differs, in words, and its repair; offsets. Always: nothing
//! shrinks, nothing is deleted, and applying twice changes nothing the second time.

use std::{
    fmt,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use carillon_chassis::metrics::Metrics;
use carillon_schemas::topics::TopicSpec;
use tokio::sync::oneshot;

pub use plan::Change;
use worker::{Job, Worker};

use crate::{BusConfig, BusError, client::Watch, lag::LagOf, thread::PollThread};

mod plan;
mod topics;
mod worker;

/// Jobs that may wait; above it, [`BusError::Busy`].
const WAITING: usize = 64;

/// Looks at topics and changes them. Cheap to clone; one OS thread does the work.
#[derive(Clone)]
pub struct Admin {
    /// Before the queue, because fields are dropped in this order: the thread ends as told, not unasked.
    _thread: Arc<PollThread>,
    jobs: SyncSender<Job>,
    deadline: Duration,
}

impl Admin {
    /// Starts an administrator. Kafka need not be there yet.
    pub fn new(config: &BusConfig, metrics: &Metrics) -> Result<Self, BusError> {
        let watch = Watch::new(config, metrics, "admin", LagOf::Nothing, Vec::new());
        let (jobs, queue) = sync_channel(WAITING);
        let worker = Worker::new(config, Arc::clone(&watch), queue)?;
        let thread = PollThread::start("bus-admin", watch, None, move |stop| worker.run(stop))?;
        Ok(Self {
            jobs,
            deadline: config.request_deadline,
            _thread: Arc::new(thread),
        })
    }

    /// What [`Admin::apply`] would do.
    pub async fn plan(&self, specs: &[TopicSpec]) -> Result<Vec<Change>, BusError> {
        let specs = specs.to_vec();
        self.ask(|reply| Job::Plan(specs, reply)).await
    }

    /// Creates missing topics, grows partitions, alters settings; says what it did.
    pub async fn apply(&self, specs: &[TopicSpec]) -> Result<Vec<Change>, BusError> {
        let specs = specs.to_vec();
        self.ask(|reply| Job::Apply(specs, reply)).await
    }

    /// Every partition of a topic: (partition, oldest offset, offset of the next record).
    pub async fn ends(&self, topic: &str) -> Result<Vec<(i32, i64, i64)>, BusError> {
        let topic = topic.to_owned();
        self.ask(|reply| Job::Ends(topic, reply)).await
    }

    /// What a group has committed of every partition of a topic, in their order.
    ///
    /// # Errors
    /// When there is no such topic, or Kafka does not answer within its deadlines.
    pub async fn committed(&self, group: &str, topic: &str) -> Result<Vec<(i32, Option<i64>)>, BusError> {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        self.ask(|reply| Job::Committed(group, topic, reply)).await
    }

    /// What a group has before it in every partition of a topic: (partition, offset where it goes on, offset of the
    /// next record). It goes on at its committed offset if that is there, or at the oldest record.
    ///
    /// # Errors
    /// When there is no such topic, or Kafka does not answer within its deadlines.
    pub async fn remaining(&self, group: &str, topic: &str) -> Result<Vec<(i32, i64, i64)>, BusError> {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        self.ask(|reply| Job::Remaining(group, topic, reply)).await
    }

    /// How many records of a topic a group has not committed yet.
    ///
    /// # Errors
    /// When there is no such topic, or Kafka does not answer within its deadlines.
    pub async fn lag(&self, group: &str, topic: &str) -> Result<i64, BusError> {
        let remaining = self.remaining(group, topic).await?;
        Ok(remaining.iter().map(|(_, from, to)| to - from).sum())
    }

    /// Whether a broker answers.
    pub async fn ping(&self) -> Result<(), BusError> {
        self.ask(Job::Ping).await
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, BusError>>) -> Job,
    ) -> Result<T, BusError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(job(reply)).map_err(|e| match e {
            TrySendError::Full(_) => BusError::Busy,
            TrySendError::Disconnected(_) => BusError::Closed,
        })?;
        // A job is a few requests, each of which has the deadline.
        match tokio::time::timeout(self.deadline * 4, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(BusError::Closed),
            Err(_) => Err(BusError::DeadlineExceeded("asking Kafka")),
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}
