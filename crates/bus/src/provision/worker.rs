//! The administrator's thread.
//!
//! In: jobs, one at a time. Out: one answer each. Always: no async thread waits for librdkafka; a whole
//! topic's ends cost two requests to each leader, however many partitions it has.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use carillon_schemas::topics::TopicSpec;
use rdkafka::{
    Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    metadata::{Metadata, MetadataTopic},
};
use tokio::sync::oneshot;

use crate::{
    BusConfig, BusError,
    ask::asked,
    client::{Plain, Watch, explain, settings},
    provision::{Change, topics},
    thread::Stop,
};

/// How long to wait for a job before librdkafka's own events are looked at.
const IDLE: Duration = Duration::from_millis(100);

/// Partitions and replication of topics, by name.
pub(super) type Shapes = HashMap<String, (u32, u16)>;

type Reply<T> = oneshot::Sender<Result<T, BusError>>;

/// A partition, and what a group has committed of it.
type Committed = (i32, Option<i64>);

pub(crate) enum Job {
    Plan(Vec<TopicSpec>, Reply<Vec<Change>>),
    Apply(Vec<TopicSpec>, Reply<Vec<Change>>),
    Ends(String, Reply<Vec<(i32, i64, i64)>>),
    Committed(String, String, Reply<Vec<Committed>>),
    Remaining(String, String, Reply<Vec<(i32, i64, i64)>>),
    Ping(Reply<()>),
}

pub(crate) struct Worker {
    pub(super) config: BusConfig,
    pub(super) watch: Arc<Watch>,
    consumer: BaseConsumer<Plain>,
    jobs: Receiver<Job>,
}

impl Worker {
    pub(crate) fn new(config: &BusConfig, watch: Arc<Watch>, jobs: Receiver<Job>) -> Result<Self, BusError> {
        let mut settings = settings(config)?;
        settings.set("allow.auto.create.topics", "false");
        let consumer = BaseConsumer::from_config_and_context(&settings, Plain(Arc::clone(&watch)))
            .map_err(|e| BusError::sort(&e))?;
        Ok(Self {
            config: config.clone(),
            watch,
            consumer,
            jobs,
        })
    }

    pub(crate) fn run(self, stop: &Stop) {
        while !stop.is_set() {
            match self.jobs.recv_timeout(IDLE) {
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // No record ever comes: this lets librdkafka tell its log, errors and statistics.
            drop(self.consumer.poll(Duration::ZERO));
        }
    }

    fn work(&self, job: Job) {
        match job {
            Job::Plan(specs, reply) => self.answer(reply, topics::plan(self, &specs)),
            Job::Apply(specs, reply) => self.answer(reply, topics::apply(self, &specs)),
            Job::Ends(topic, reply) => self.answer(reply, self.ends(&topic)),
            Job::Committed(group, topic, reply) => self.answer(reply, self.committed(&group, &topic)),
            Job::Remaining(group, topic, reply) => self.answer(reply, self.remaining(&group, &topic)),
            Job::Ping(reply) => self.answer(reply, self.ping()),
        }
    }

    fn answer<T>(&self, reply: Reply<T>, result: Result<T, BusError>) {
        // Whoever stopped waiting does not want the answer.
        drop(reply.send(result.map_err(|e| explain(&self.consumer, e))));
    }

    fn asked<T>(&self, ask: impl Fn(Duration) -> KafkaResult<T>) -> Result<T, BusError> {
        asked(self.config.request_deadline, ask).map_err(|e| BusError::sort(&e))
    }

    fn ping(&self) -> Result<(), BusError> {
        self.metadata().map(drop)
    }

    pub(super) fn metadata(&self) -> Result<Metadata, BusError> {
        let metadata = self.asked(|patience| self.consumer.fetch_metadata(None, patience))?;
        self.watch.up();
        Ok(metadata)
    }

    /// Partitions and replication of every topic that is there, and how many brokers are.
    pub(super) fn topics(&self) -> Result<(Shapes, usize), BusError> {
        self.metadata().map(|metadata| shapes(&metadata))
    }

    fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        match self.topics()?.0.get(topic) {
            Some(&(partitions, _)) => Ok(partitions),
            None => Err(BusError::Refused(format!("there is no topic {topic}"))),
        }
    }

    fn ends(&self, topic: &str) -> Result<Vec<(i32, i64, i64)>, BusError> {
        let partitions = self.partitions(topic)?;
        let low = self.offsets(topic, partitions, Offset::Beginning)?;
        let high = self.offsets(topic, partitions, Offset::End)?;
        (0..partitions as i32)
            .map(|p| match (low.get(&p), high.get(&p)) {
                (Some(&low), Some(&high)) => Ok((p, low, high)),
                _ => Err(BusError::Unavailable(format!("no offsets of {topic}/{p}"))),
            })
            .collect()
    }

    /// One end of every partition. librdkafka passes the numbers of `Beginning` and `End` on as the
    /// timestamps that Kafka defines for them.
    fn offsets(&self, topic: &str, partitions: u32, end: Offset) -> Result<HashMap<i32, i64>, BusError> {
        let sort = |e: KafkaError| BusError::sort(&e);
        let mut list = TopicPartitionList::with_capacity(partitions as usize);
        for partition in 0..partitions as i32 {
            list.add_partition_offset(topic, partition, end).map_err(sort)?;
        }
        let found = self.asked(|patience| {
            let found = self.consumer.offsets_for_times(list.clone(), patience)?;
            found.elements().iter().try_for_each(|element| element.error())?;
            Ok(found)
        })?;
        let mut offsets = HashMap::with_capacity(partitions as usize);
        for element in found.elements() {
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert(element.partition(), offset);
            }
        }
        Ok(offsets)
    }

    fn committed(&self, group: &str, topic: &str) -> Result<Vec<Committed>, BusError> {
        let partitions = 0..self.partitions(topic)? as i32;
        let sort = |e: KafkaError| BusError::sort(&e);
        let mut settings = settings(&self.config)?;
        settings.set("group.id", group);
        // Never subscribed, so the group does not notice it.
        let member: BaseConsumer<Plain> =
            BaseConsumer::from_config_and_context(&settings, Plain(Arc::clone(&self.watch))).map_err(sort)?;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions.clone() {
            list.add_partition(topic, partition);
        }
        let found = self.asked(|patience| member.committed_offsets(list.clone(), patience))?;
        let mut committed = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let element = found.find_partition(topic, partition);
            element.as_ref().map_or(Ok(()), |e| e.error()).map_err(sort)?;
            committed.push(match element.map(|e| e.offset()) {
                Some(Offset::Offset(offset)) => (partition, Some(offset)),
                _ => (partition, None),
            });
        }
        Ok(committed)
    }

    /// Where the group goes on, and the end. Committed first: what is committed meanwhile lies below the end then.
    fn remaining(&self, group: &str, topic: &str) -> Result<Vec<(i32, i64, i64)>, BusError> {
        let committed: HashMap<_, _> = self.committed(group, topic)?.into_iter().collect();
        let ends = self.ends(topic)?.into_iter().map(|(partition, low, high)| {
            let at = committed.get(&partition).copied().flatten();
            let from = at.filter(|at| (low..=high).contains(at)).unwrap_or(low);
            (partition, from, high)
        });
        Ok(ends.collect())
    }
}

/// Partitions and replication of every topic, and how many brokers are.
pub(super) fn shapes(metadata: &Metadata) -> (Shapes, usize) {
    let shape = |topic: &MetadataTopic| {
        let copies = topic.partitions().first().map_or(0, |p| p.replicas().len());
        (topic.partitions().len() as u32, copies as u16)
    };
    let there = metadata.topics().iter().filter(|t| t.error().is_none());
    let topics = there.map(|t| (t.name().to_owned(), shape(t))).collect();
    (topics, metadata.brokers().len())
}
