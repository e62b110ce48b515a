//! Group membership: what librdkafka calls back when partitions come and go.
//!
//! In: assignments, revocations, results of commits; all on the poll thread. Out: low-water marks that
//! follow the assignment, and news for the owner. Always: no callback waits for async code. A revoked
//! partition is committed before it is given away; librdkafka gives such a commit up after the session
//! timeout, which bounds it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance},
    error::KafkaError,
};
use tracing::{debug, info, warn};

use crate::{
    BusConfig, BusError, ConsumerOptions, TopicPartition,
    client::{Watch, millis, reader_settings},
    consumer::{Event, Shared},
};

pub(crate) type Joined = BaseConsumer<Callbacks>;

/// librdkafka gives a member up that is not polled for so long.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(60);

/// Becomes a member of a group.
pub(crate) fn join(
    config: &BusConfig,
    group: &str,
    topics: &[String],
    options: &ConsumerOptions,
    watch: &Arc<Watch>,
    shared: &Arc<Shared>,
) -> Result<Joined, BusError> {
    let mut settings = reader_settings(config, group, options.fetch_ahead_kib, options.start);
    // A member hears of a rebalance with its next heartbeat, twice per rebalance.
    let heartbeat = (config.session_timeout / 6).min(Duration::from_secs(1));
    settings
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", millis(config.session_timeout))
        .set("heartbeat.interval.ms", millis(heartbeat))
        .set(
            "max.poll.interval.ms",
            millis(MAX_POLL_INTERVAL.max(config.session_timeout)),
        );
    let callbacks = Callbacks {
        watch: Arc::clone(watch),
        shared: Arc::clone(shared),
        news: Mutex::default(),
    };
    let consumer = Joined::from_config_and_context(&settings, callbacks).map_err(|e| BusError::sort(&e))?;
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(|e| BusError::sort(&e))?;
    Ok(consumer)
}

pub(crate) struct Callbacks {
    pub(crate) watch: Arc<Watch>,
    pub(crate) shared: Arc<Shared>,
    /// Changes of the assignment since the poll thread looked last.
    news: Mutex<Vec<Event>>,
}

impl Callbacks {
    /// What happened since the last call.
    pub(crate) fn take_news(&self) -> Vec<Event> {
        std::mem::take(&mut *self.news.lock())
    }

    fn assigned(&self, consumer: &Joined, list: &TopicPartitionList) {
        // A pause survives a revoke inside librdkafka; here it does not.
        if let Err(e) = consumer.resume(list) {
            warn!(error = %e, "partitions could not be resumed");
        }
        let partitions = partitions(list);
        let mut marks = self.shared.marks.lock();
        for partition in &partitions {
            marks.assign(partition);
        }
        drop(marks);
        info!(partitions = ?Shown(&partitions), "partitions assigned");
        self.tell("assigned", Event::Assigned(partitions));
    }

    fn revoked(&self, consumer: &Joined, list: &TopicPartitionList) {
        let partitions = partitions(list);
        let lost = consumer.assignment_lost();
        let mut marks = self.shared.marks.lock();
        let mut due = Vec::new();
        for partition in &partitions {
            let mark = marks.revoke(partition);
            due.extend(
                mark.and_then(|m| m.due())
                    .map(|offset| (partition.clone(), offset)),
            );
        }
        drop(marks);
        if !lost {
            self.commit(consumer, &due);
        }
        info!(partitions = ?Shown(&partitions), lost, "partitions revoked");
        self.tell(if lost { "lost" } else { "revoked" }, Event::Revoked(partitions));
    }

    fn tell(&self, change: &str, event: Event) {
        let labels = self.watch.labels_and(change);
        self.watch.metrics.rebalances.with_label_values(&labels).inc();
        self.news.lock().push(event);
    }

    /// Commits and waits for the answer. (Of a commit in the background nothing is ever heard: the binding
    /// asks for events, and librdkafka tells that result by callback alone.)
    pub(crate) fn commit(&self, consumer: &Joined, due: &[(TopicPartition, i64)]) {
        if due.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(due.len());
        for (partition, offset) in due {
            let offset = Offset::Offset(*offset);
            if let Err(e) = list.add_partition_offset(&partition.topic, partition.partition, offset) {
                warn!(partition = %partition, error = %e, "an offset cannot be committed");
            }
        }
        if let Err(e) = consumer.commit(&list, CommitMode::Sync) {
            self.count_commit("failed");
            warn!(error = %e, "offsets not committed, trying again");
            return;
        }
        let mut marks = self.shared.marks.lock();
        for (partition, offset) in due {
            if let Some(mark) = marks.get_mut(&partition.topic, partition.partition) {
                mark.committed(*offset);
            }
        }
        drop(marks);
        self.count_commit("committed");
        debug!(partitions = due.len(), "offsets committed");
    }

    fn count_commit(&self, result: &str) {
        let labels = self.watch.labels_and(result);
        self.watch.metrics.commits.with_label_values(&labels).inc();
    }
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.watch.log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.watch.statistics(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(&error, reason);
    }
}

impl ConsumerContext for Callbacks {
    fn pre_rebalance(&self, consumer: &Joined, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance
            && list.count() > 0
        {
            self.revoked(consumer, list);
        }
    }

    fn post_rebalance(&self, consumer: &Joined, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) if list.count() > 0 => self.assigned(consumer, list),
            Rebalance::Error(e) => warn!(error = %e, "rebalance failed"),
            Rebalance::Assign(_) | Rebalance::Revoke(_) => {}
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = list.elements();
    let partition = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| TopicPartition {
        topic: element.topic().into(),
        partition: element.partition(),
    };
    elements.iter().map(partition).collect()
}

/// A list of our partitions.
pub(crate) fn list(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}

/// Partitions as they stand in a log line.
struct Shown<'a>(&'a [TopicPartition]);

impl std::fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(TopicPartition::to_string))
            .finish()
    }
}
