//! The member: the loop of a group's poll thread.
//!
//! In: messages of librdkafka. Out: batches in the owner's queue, commits, pauses. Always: it is polled
//! while it is paused, so that it stays a member; it never waits on the owner for longer than a moment.

use std::{
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use carillon_chassis::metrics::Counter;
use rdkafka::{consumer::Consumer, error::KafkaError};
use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use crate::{
    ConsumerOptions, Record, TopicPartition,
    consumer::{
        Batch, Event, Shared,
        flow::Flow,
        group::{Joined, list},
        hand_over::{HandOver, Handed},
    },
    record::reading::Reading,
    thread::Stop,
};

/// How long a poll waits when nothing comes; also how late a stop, a pause or a commit is seen.
const IDLE: Duration = Duration::from_millis(50);
/// The same while partitions are paused and may go on soon.
const BUSY: Duration = Duration::from_millis(5);

/// Offsets to commit.
type Due = Vec<(TopicPartition, i64)>;

pub(crate) struct Member {
    consumer: Arc<Joined>,
    shared: Arc<Shared>,
    options: ConsumerOptions,
    batch: usize,
    reading: Reading,
    flow: Flow,
    hand_over: HandOver,
    /// The owner's queue was full for too long.
    full: bool,
    last_commit: Instant,
    received: Counter,
    failed: bool,
}

impl Member {
    pub(crate) fn new(
        consumer: Joined,
        shared: Arc<Shared>,
        options: ConsumerOptions,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let batch = options.batch.min(options.in_flight_per_partition / 2).max(1);
        let watch = &consumer.context().watch;
        Self {
            received: watch.metrics.received.with_label_values(&watch.labels()),
            flow: Flow::new(options.in_flight_per_partition, batch),
            hand_over: HandOver::new(events),
            reading: Reading::default(),
            last_commit: Instant::now(),
            full: false,
            failed: false,
            consumer: Arc::new(consumer),
            shared,
            options,
            batch,
        }
    }

    /// Polls until it is told to stop, then leaves the group: dropping the consumer revokes what is
    /// assigned, which commits it.
    pub(crate) fn run(mut self, stop: &Stop) {
        let consumer = Arc::clone(&self.consumer);
        let (commits, due) = sync_channel(1);
        std::thread::scope(|threads| {
            // A commit waits for the group's coordinator; records should not.
            threads.spawn(|| {
                for due in due {
                    let due: Vec<_> = due;
                    consumer.context().commit(&consumer, &due);
                }
            });
            self.poll_until(stop, &commits);
            drop(commits);
        });
        debug!("leaving the consumer group");
    }

    fn poll_until(&mut self, stop: &Stop, commits: &SyncSender<Due>) {
        while !stop.is_set() && !self.failed {
            match self.hand_over.try_all() {
                Handed::Gone => break,
                Handed::Wait => HandOver::wait(),
                Handed::Full => {
                    self.full = true;
                    self.steer();
                    self.take_in(BUSY);
                }
                Handed::All => {
                    self.full = false;
                    self.steer();
                    let wait = if self.flow.waits() { BUSY } else { IDLE };
                    self.take_in(wait);
                }
            }
            self.commit_if_due(commits);
        }
    }

    /// Pauses and resumes what has to be.
    fn steer(&mut self) {
        let owner = self.shared.paused.load(Ordering::Acquire);
        let changes = self.flow.look(&self.shared.marks.lock(), self.full || owner);
        if !changes.pause.is_empty() {
            let watch = &self.consumer.context().watch;
            let reason = match (owner, self.full) {
                (true, _) => "owner",
                (false, true) => "queue",
                (false, false) => "in_flight",
            };
            watch
                .metrics
                .pauses
                .with_label_values(&watch.labels_and(reason))
                .inc();
            debug!(partitions = changes.pause.len(), reason, "partitions paused");
            self.report(self.consumer.pause(&list(&changes.pause)));
        }
        if !changes.resume.is_empty() {
            debug!(partitions = changes.resume.len(), "partitions resumed");
            self.report(self.consumer.resume(&list(&changes.resume)));
        }
    }

    fn report(&self, result: Result<(), KafkaError>) {
        if let Err(e) = result {
            warn!(error = %e, "partitions could not be paused or resumed");
        }
    }

    /// Takes what is there, up to a batch, after waiting for the first record.
    fn take_in(&mut self, wait: Duration) {
        let mut records = Vec::new();
        let mut wait = wait;
        while records.len() < self.batch {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => records.push(self.reading.record(&message)),
                Some(Err(e)) => {
                    poll_failed(&e, &mut self.failed);
                    break;
                }
                None => break,
            }
            wait = Duration::ZERO;
        }
        self.pass_on(records);
    }

    /// Records came before the news: a poll that brings news brings no record.
    fn pass_on(&mut self, mut records: Vec<Record>) {
        let news = self.consumer.context().take_news();
        if !records.is_empty() || !news.is_empty() {
            let mut marks = self.shared.marks.lock();
            records.retain(|record| match marks.get_mut(&record.topic, record.partition) {
                Some(mark) => {
                    mark.start(record.offset);
                    true
                }
                None => false,
            });
            if !news.is_empty() {
                self.hand_over.keep_assigned(&marks);
            }
        }
        if !records.is_empty() {
            self.received.inc_by(records.len() as u64);
            self.hand_over.push(Event::Records(Batch { records }));
        }
        for event in news {
            if let Event::Assigned(partitions) | Event::Revoked(partitions) = &event {
                self.flow.forget(partitions);
            }
            self.hand_over.push(event);
        }
        let unreadable = std::mem::take(&mut self.reading.unreadable);
        self.consumer
            .context()
            .watch
            .metrics
            .unreadable_headers
            .inc_by(unreadable);
    }

    fn commit_if_due(&mut self, commits: &SyncSender<Due>) {
        if self.last_commit.elapsed() < self.options.commit_every {
            return;
        }
        self.last_commit = Instant::now();
        let due = self.shared.marks.lock().due();
        // When two commits wait already, what is due now is due at the next look too.
        if !due.is_empty() && commits.try_send(due).is_err() {
            debug!("an earlier commit is still waiting");
        }
    }
}

/// An error in place of a record. librdkafka goes on by itself, except after a fatal one.
fn poll_failed(error: &KafkaError, failed: &mut bool) {
    if let KafkaError::MessageConsumptionFatal(code) = error {
        error!(error = %code, "the kafka consumer cannot go on");
        *failed = true;
        return;
    }
    debug!(error = %error, "polling failed");
}
