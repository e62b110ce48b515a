//! Callbacks: what happens when partitions come and go.
//!
//! In: assignments and revocations, on the poll thread: of a group through librdkafka, of a follower from its
//! owner. Out: low-water marks that follow the assignment, and news for the owner. Always: nothing here waits
//! for async code, and each wait is bounded, because every partition of the consumer stands still meanwhile.
//! What is taken away is committed before it is given away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance},
    error::KafkaError,
};
use tracing::{debug, info, warn};

use crate::{
    ConsumerOptions, TopicPartition,
    client::Watch,
    consumer::{
        Event, Shared,
        errands::{self, Errand},
        hand_over::{HandOver, Handed},
    },
    offsets::Commit,
};

pub(crate) type Joined = BaseConsumer<Callbacks>;

/// How long giving partitions away waits for their commit. librdkafka itself gives one up after the session
/// timeout; meanwhile the partitions that stay would stand still.
const COMMIT: Duration = Duration::from_secs(1);
/// How often the owner's queue is tried while the owner is waited for.
const LOOK: Duration = Duration::from_millis(1);

pub(crate) struct Callbacks {
    pub(crate) watch: Arc<Watch>,
    pub(crate) shared: Arc<Shared>,
    /// Used by the poll thread alone, which is also the one that calls back.
    pub(super) hand_over: Mutex<HandOver>,
    /// Partitions that came or went since the poll thread looked last.
    moved: Mutex<Vec<TopicPartition>>,
    /// The way to the errands' thread, while it runs.
    errands: Mutex<Option<SyncSender<Errand>>>,
    /// A commit of what is due has been asked for and has not ended.
    commits: AtomicBool,
    /// The member leaves: its owner takes no more news.
    leaves: AtomicBool,
    /// Partitions were resumed since the poll thread looked last.
    resumed: AtomicBool,
    /// How long the owner may take to finish what it has begun of partitions that go.
    patience: Duration,
}

impl Callbacks {
    pub(crate) fn new(
        watch: Arc<Watch>,
        shared: Arc<Shared>,
        hand_over: HandOver,
        options: &ConsumerOptions,
    ) -> Self {
        Self {
            watch,
            shared,
            hand_over: Mutex::new(hand_over),
            moved: Mutex::default(),
            errands: Mutex::default(),
            commits: AtomicBool::new(false),
            leaves: AtomicBool::new(false),
            resumed: AtomicBool::new(false),
            patience: options.hand_over,
        }
    }

    /// From now on, errands have a thread.
    pub(super) fn begin(&self, errands: SyncSender<Errand>) {
        *self.errands.lock() = Some(errands);
    }

    /// The errands' thread ends with what waits for it; from now on, errands are run at once.
    pub(super) fn end(&self) {
        self.leaves.store(true, Ordering::Release);
        *self.errands.lock() = None;
    }

    /// Whether an errand was taken.
    pub(super) fn ask(&self, errand: Errand) -> bool {
        let errands = self.errands.lock();
        errands.as_ref().is_some_and(|way| way.try_send(errand).is_ok())
    }

    /// Has what is due committed, unless that was asked for before and has not ended.
    pub(super) fn commit_due(&self) {
        if self.shared.marks.lock().due().is_empty() {
            return;
        }
        if self.commits.swap(true, Ordering::AcqRel) {
            debug!("the commit before has not ended");
        } else if !self.ask(Errand::CommitDue) {
            debug!("other errands are still waiting");
            self.commits_again();
        }
    }

    /// The commit has ended.
    pub(super) fn commits_again(&self) {
        self.commits.store(false, Ordering::Release);
    }

    /// What came or went since the last call.
    pub(super) fn take_moved(&self) -> Vec<TopicPartition> {
        std::mem::take(&mut *self.moved.lock())
    }

    /// Whether librdkafka resumed partitions since the last call.
    pub(super) fn take_resumed(&self) -> bool {
        self.resumed.swap(false, Ordering::AcqRel)
    }

    fn assigned(&self, consumer: &Joined, list: &TopicPartitionList) {
        #[cfg(feature = "seeded-bugs")]
        let resumes = self.watch.bug != Some(crate::seeded::SeededBug::NoResumeAfterRebalance);
        #[cfg(not(feature = "seeded-bugs"))]
        let resumes = true;
        // A pause survives a revoke inside librdkafka; here it does not.
        if resumes && let Err(e) = consumer.resume(list) {
            warn!(error = %e, "partitions could not be resumed");
        }
        let partitions = partitions(list);
        let mut marks = self.shared.marks.lock();
        for partition in &partitions {
            marks.assign(partition);
        }
        drop(marks);
        // librdkafka asks for the committed offsets at the same time, so this costs the first record nothing.
        if !self.ask(Errand::Notes(partitions.clone())) {
            self.shared.hear_nothing(&partitions);
        }
        self.came(partitions);
    }

    /// Tells the owner of partitions that have a mark.
    pub(super) fn came(&self, partitions: Vec<TopicPartition>) {
        info!(partitions = ?Shown(&partitions), "partitions assigned");
        self.tell("assigned", &partitions, Event::Assigned(partitions.clone()));
    }

    /// Has the owner end what it has begun, commits, and forgets: for partitions that are about to go.
    pub(super) fn revoked(&self, consumer: &Joined, list: &TopicPartitionList) {
        let partitions = partitions(list);
        let begun = Instant::now();
        let lost = consumer.assignment_lost();
        self.hand_over.lock().forget(&partitions, &self.shared);
        let change = if lost { "lost" } else { "revoked" };
        self.tell(change, &partitions, Event::Revoked(partitions.clone()));
        let mut left = 0;
        if !lost {
            left = self.wait_for_owner(&partitions);
            self.commit(consumer, &partitions);
        }
        let mut marks = self.shared.marks.lock();
        for partition in &partitions {
            marks.revoke(partition);
        }
        drop(marks);
        let took = begun.elapsed();
        info!(partitions = ?Shown(&partitions), lost, unfinished = left, took = ?took, "partitions revoked");
    }

    /// Waits until the owner has finished or let go what it has of these, but not for long. Returns how many
    /// records it still has.
    fn wait_for_owner(&self, partitions: &[TopicPartition]) -> usize {
        let give_up = Instant::now() + self.patience;
        let mut marks = self.shared.marks.lock();
        loop {
            let open = partitions
                .iter()
                .filter_map(|p| marks.get(&p.topic, p.partition))
                .map(crate::offsets::LowWaterMark::open);
            let open = open.sum();
            if open == 0 || self.leaves.load(Ordering::Acquire) || Instant::now() >= give_up {
                return open;
            }
            self.shared.changed.wait_for(&mut marks, LOOK);
            // The owner hears of it when there is room in its queue.
            let handed = MutexGuard::unlocked(&mut marks, || self.hand_over.lock().try_all());
            if handed == Handed::Gone {
                return open;
            }
        }
    }

    pub(super) fn due(&self, partitions: &[TopicPartition]) -> Vec<Commit> {
        let marks = self.shared.marks.lock();
        let due = |p: &TopicPartition| marks.get(&p.topic, p.partition)?.due(p);
        partitions.iter().filter_map(due).collect()
    }

    /// Has it committed behind what is being committed, and waits for that, but not for long.
    fn commit(&self, consumer: &Joined, partitions: &[TopicPartition]) {
        let due = self.due(partitions);
        if due.is_empty() {
            return;
        }
        if self.leaves.load(Ordering::Acquire) {
            return errands::commit(consumer, &due);
        }
        let (done, ended) = sync_channel(1);
        if !self.ask(Errand::CommitOf(partitions.to_vec(), done)) || ended.recv_timeout(COMMIT).is_err() {
            warn!("partitions are given away before their commit has ended");
        }
    }

    fn tell(&self, change: &str, partitions: &[TopicPartition], event: Event) {
        let labels = self.watch.labels_and(change);
        self.watch.metrics.rebalances.with_label_values(&labels).inc();
        self.moved.lock().extend_from_slice(partitions);
        let mut hand_over = self.hand_over.lock();
        hand_over.push(event);
        debug!(change, handed = ?hand_over.try_all(), "told the owner");
    }

    pub(super) fn count_commit(&self, result: &str) {
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
        // Those that stay were paused inside librdkafka until here.
        self.resumed.store(true, Ordering::Release);
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
