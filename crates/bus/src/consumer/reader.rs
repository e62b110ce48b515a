//! The reader: the loop of a consumer's poll thread.
//!
//! In: messages of librdkafka. Out: batches in the owner's queue, commits, pauses. Always: it is polled
//! while it is paused, so that a member stays one; it never waits on the owner for longer than a moment.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use carillon_chassis::metrics::Counter;
use parking_lot::MutexGuard;
use rdkafka::{consumer::Consumer, error::KafkaError};
use tracing::{debug, error, warn};

use crate::{
    ConsumerOptions, Record, TopicPartition,
    consumer::{
        Batch, Event, Shared,
        callbacks::{Joined, list},
        chosen::Chosen,
        errands::{self, Errand},
        flow::{Amount, Flow},
        hand_over::{HandOver, Handed},
        wakes::Wakes,
    },
    offsets::{LowWaterMark, LowWaterMarks},
    record::reading::Reading,
    thread::Stop,
};

/// How long a poll waits when nothing comes; also how late a stop, a pause or a commit is seen.
const IDLE: Duration = Duration::from_millis(50);
/// The same while partitions are paused and may go on soon.
const BUSY: Duration = Duration::from_millis(5);

/// How long giving back all partitions may take when the group is left.
const LEAVE: Duration = Duration::from_secs(3);
/// How long the first records of a partition wait for what the owner before noted. The question was asked
/// before them, of the same broker that said where to begin.
const NOTES: Duration = Duration::from_secs(1);

/// Who says which partitions are read.
pub(crate) enum Source {
    /// The group.
    Group,
    /// The owner.
    Chosen(Chosen),
}

pub(crate) struct Reader {
    consumer: Arc<Joined>,
    source: Source,
    shared: Arc<Shared>,
    options: ConsumerOptions,
    batch: Amount,
    reading: Reading,
    flow: Flow,
    /// The owner's queue was full for too long.
    full: bool,
    last_commit: Instant,
    received: Counter,
    skipped: Counter,
    wakes: Wakes,
    failed: bool,
}

impl Source {
    /// Whether an answer is awaited that begins partitions.
    fn waits(&self) -> bool {
        matches!(self, Self::Chosen(chosen) if chosen.waits())
    }
}

impl Reader {
    pub(crate) fn new(
        consumer: Joined,
        shared: Arc<Shared>,
        options: ConsumerOptions,
        source: Source,
    ) -> Self {
        let batch = Amount::batch(&options);
        let watch = &consumer.context().watch;
        Self {
            received: watch.metrics.received.with_label_values(&watch.labels()),
            skipped: watch.metrics.skipped.with_label_values(&watch.labels()),
            flow: Flow::new(Amount::in_flight(&options), batch),
            reading: Reading::default(),
            last_commit: Instant::now(),
            full: false,
            wakes: Wakes::default(),
            failed: false,
            consumer: Arc::new(consumer),
            source,
            shared,
            options,
            batch,
        }
    }

    /// Polls until it is told to stop, then gives back what is assigned, which commits it.
    pub(crate) fn run(mut self, stop: &Stop) {
        let consumer = Arc::clone(&self.consumer);
        let (way, errands) = errands::queue();
        consumer.context().begin(way);
        std::thread::scope(|threads| {
            let asker = &consumer;
            threads.spawn(move || errands::run(asker, &errands));
            self.poll_until(stop);
            consumer.context().end();
        });
        match &mut self.source {
            Source::Group => self.leave(),
            Source::Chosen(chosen) => chosen.end_all(&consumer),
        }
    }

    /// Gives everything back before the consumer is closed. librdkafka 2.12 waits for ever when a rebalance is
    /// called back after its group has ended (its issues 4527 and 4884), which a close in the middle of one can
    /// bring about; a consumer that has left and has no partitions has nothing to call back.
    fn leave(&self) {
        debug!("leaving the consumer group");
        self.consumer.unsubscribe();
        let give_up = Instant::now() + LEAVE;
        let mut quiet = 0;
        while quiet < 2 && Instant::now() < give_up {
            // A record that comes now was not begun, so that nobody has to finish it.
            drop(self.consumer.poll(BUSY));
            let owns = self.shared.marks.lock().iter().next().is_some();
            quiet = if owns { 0 } else { quiet + 1 };
        }
        if quiet < 2 {
            warn!("partitions were not given back in time");
        }
    }

    fn poll_until(&mut self, stop: &Stop) {
        while !stop.is_set() && !self.failed {
            self.follow();
            let handed = self.consumer.context().hand_over.lock().try_all();
            match handed {
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
                    let soon = self.flow.waits() || self.wakes.is_pending() || self.source.waits();
                    let wait = if soon { BUSY } else { IDLE };
                    self.take_in(wait);
                }
            }
            self.wake_if_due();
            self.commit_if_due();
        }
    }

    /// Begins and ends what the owner has chosen.
    fn follow(&mut self) {
        if let Source::Chosen(chosen) = &mut self.source
            && chosen.follow(&self.consumer)
        {
            self.flow.forget(&self.consumer.context().take_moved());
        }
    }

    fn wake_if_due(&mut self) {
        let now = Instant::now();
        if self.consumer.context().take_resumed() {
            self.wakes.resumed(now);
        }
        if self.wakes.is_due(now) {
            let all = self.shared.marks.lock().iter().map(|(p, _)| p).collect();
            self.consumer.context().ask(Errand::Wake(all));
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
            self.wakes.resumed(Instant::now());
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
        let (mut wait, mut bytes) = (wait, 0);
        while records.len() < self.batch.records && bytes < self.batch.bytes {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let record = self.reading.record(&message);
                    bytes += record.size();
                    records.push(record);
                }
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

    /// The owner heard of changes before: a poll that brings one brings no record. What was polled before of a
    /// partition that went is dropped.
    fn pass_on(&mut self, mut records: Vec<Record>) {
        let callbacks = self.consumer.context();
        let moved = callbacks.take_moved();
        #[cfg(feature = "seeded-bugs")]
        if !moved.is_empty() && callbacks.watch.bug == Some(crate::seeded::SeededBug::NoResumeAfterRebalance)
        {
            self.flow.strand();
        }
        self.flow.forget(&moved);
        let mut passed = Vec::new();
        if !records.is_empty() {
            let polled = records.len();
            let mut marks = self.shared.marks.lock();
            self.wait_for_notes(&records, &mut marks);
            let mut gone = 0;
            records.retain(|record| {
                let Some(mark) = marks.get_mut(&record.topic, record.partition) else {
                    gone += 1;
                    return false;
                };
                let open = mark.start(record.offset, record.timestamp_ms, record.size());
                if !open {
                    left_out(&mut passed, record);
                }
                open
            });
            drop(marks);
            self.skipped.inc_by((polled - records.len() - gone) as u64);
        }
        if !records.is_empty() || !passed.is_empty() {
            self.received.inc_by(records.len() as u64);
            let event = Event::Records(Batch { records, passed });
            callbacks.hand_over.lock().push(event);
        }
        let unreadable = std::mem::take(&mut self.reading.unreadable);
        callbacks.watch.metrics.unreadable_headers.inc_by(unreadable);
    }

    /// Without what the owner before noted, records would be repeated: a moment's wait, once an assignment.
    fn wait_for_notes(&self, records: &[Record], marks: &mut MutexGuard<'_, LowWaterMarks>) {
        let give_up = Instant::now() + NOTES;
        let waits = |marks: &LowWaterMarks, r: &Record| {
            let mark = marks.get(&r.topic, r.partition);
            mark.is_some_and(LowWaterMark::waits)
        };
        while records.iter().any(|r| waits(marks, r)) {
            if self.shared.changed.wait_until(marks, give_up).timed_out() {
                warn!("what the owner before had finished is not known in time and may be repeated");
                for record in records {
                    if let Some(mark) = marks.get_mut(&record.topic, record.partition) {
                        mark.hear(None);
                    }
                }
            }
        }
    }

    fn commit_if_due(&mut self) {
        if self.last_commit.elapsed() < self.options.commit_every {
            return;
        }
        self.last_commit = Instant::now();
        self.consumer.context().commit_due();
    }
}

/// A record was left out, so that its partition is read to behind it.
fn left_out(passed: &mut Vec<(TopicPartition, i64)>, record: &Record) {
    let same =
        |(p, _): &&mut (TopicPartition, i64)| p.partition == record.partition && p.topic == record.topic;
    match passed.iter_mut().find(same) {
        Some((_, next)) => *next = record.offset + 1,
        None => {
            let partition = TopicPartition {
                topic: Arc::clone(&record.topic),
                partition: record.partition,
            };
            passed.push((partition, record.offset + 1));
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
