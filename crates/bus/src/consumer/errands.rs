//! Errands: what waits for the group's coordinator, so that the poll thread does not.
//!
//! In: partitions to commit, or whose notes or beginnings are to be read. Out: marks that know it. Always: one after
//! the other, and what is due is looked up when its turn has come, so that an older commit never follows a newer one
//! and nothing is committed of what has gone meanwhile; a note that cannot be read costs repetitions, never a record.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use tracing::{debug, warn};

use crate::{
    StartAt, TopicPartition,
    consumer::{
        callbacks::{Joined, list},
        chosen::{Start, find_starts},
    },
    offsets::{Commit, note},
};

/// Errands that may wait. When it is full, a commit is left to the next look and a note unread.
const WAITING: usize = 16;
/// How long the coordinator may take to tell what was committed.
pub(super) const ANSWER: Duration = Duration::from_secs(3);

/// One errand.
pub(super) enum Errand {
    /// Commit what is due by then. After an outage this must not be many: each that the group refuses makes the
    /// member join anew, and a member that asked to join twice is waited for, as two, until one times out.
    CommitDue,
    /// Commit what is due of these, and say when it has ended, well or not.
    CommitOf(Vec<TopicPartition>, SyncSender<()>),
    /// Read the notes of the owners before.
    Notes(Vec<TopicPartition>),
    /// Look where partitions of a follower begin, and say so.
    Starts(
        Vec<TopicPartition>,
        StartAt,
        SyncSender<Result<Vec<Start>, KafkaError>>,
    ),
    /// Have the brokers of these say something: see [`super::wakes`].
    Wake(Vec<TopicPartition>),
}

/// The way to the errands' thread, and its end.
pub(super) fn queue() -> (SyncSender<Errand>, Receiver<Errand>) {
    sync_channel(WAITING)
}

/// Runs errands until nobody can ask for more.
pub(super) fn run(consumer: &Joined, errands: &Receiver<Errand>) {
    for errand in errands {
        match errand {
            Errand::CommitDue => {
                let due = consumer.context().shared.marks.lock().due();
                commit(consumer, &due);
                consumer.context().commits_again();
            }
            Errand::CommitOf(partitions, ended) => {
                commit(consumer, &consumer.context().due(&partitions));
                if ended.try_send(()).is_err() {
                    debug!("a commit ended after it was waited for");
                }
            }
            Errand::Notes(partitions) => read_notes(consumer, &partitions),
            Errand::Starts(partitions, otherwise, answer) => {
                let found = find_starts(consumer, &partitions, otherwise);
                if answer.try_send(found).is_err() {
                    debug!("where partitions begin is not asked any more");
                }
            }
            Errand::Wake(partitions) => wake(consumer, &partitions),
        }
    }
}

/// Commits and waits for the answer. (Of a commit in the background nothing is ever heard: the binding asks
/// for events, and librdkafka tells that result by callback alone.)
pub(super) fn commit(consumer: &Joined, due: &[Commit]) {
    if due.is_empty() {
        return;
    }
    let callbacks = consumer.context();
    #[cfg(feature = "seeded-bugs")]
    let seeded = seeded(callbacks, due);
    #[cfg(feature = "seeded-bugs")]
    let due = &seeded[..];
    let mut result = consumer.commit(&offsets(due, true), CommitMode::Sync);
    // A broker with a smaller `offset.metadata.max.bytes` than Kafka's default.
    if let Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::OffsetMetadataTooLarge)) = result {
        debug!("a note is too long for the broker and is left out");
        result = consumer.commit(&offsets(due, false), CommitMode::Sync);
    }
    if let Err(e) = result {
        callbacks.count_commit("failed");
        warn!(error = %e, "offsets not committed, trying again");
        return;
    }
    callbacks.shared.marks.lock().committed(due);
    callbacks.count_commit("committed");
    debug!(partitions = due.len(), "offsets committed");
}

#[cfg(feature = "seeded-bugs")]
fn seeded(callbacks: &super::callbacks::Callbacks, due: &[Commit]) -> Vec<Commit> {
    match callbacks.watch.bug {
        Some(crate::seeded::SeededBug::CommitHighWater) => crate::seeded::high_water(due, &callbacks.shared),
        _ => due.to_vec(),
    }
}

fn offsets(due: &[Commit], with_notes: bool) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(due.len());
    for commit in due {
        let (partition, offset) = (&commit.partition, Offset::Offset(commit.offset));
        if let Err(e) = list.add_partition_offset(&partition.topic, partition.partition, offset) {
            warn!(partition = %partition, error = %e, "an offset cannot be committed");
            continue;
        }
        if with_notes
            && !commit.note.is_empty()
            && let Some(mut element) = list.find_partition(&partition.topic, partition.partition)
        {
            element.set_metadata(&commit.note);
        }
    }
    list
}

/// Asks the leaders of these for their ends. The answer is not needed.
fn wake(consumer: &Joined, partitions: &[TopicPartition]) {
    let mut list = list(partitions);
    if list.count() == 0 || list.set_all_offsets(Offset::End).is_err() {
        return;
    }
    if let Err(e) = consumer.offsets_for_times(list, ANSWER) {
        debug!(error = %e, "brokers were not woken; fetching goes on within a second");
    }
}

/// Reads what the owners before noted. Whatever happens, nobody waits for it afterwards.
fn read_notes(consumer: &Joined, partitions: &[TopicPartition]) {
    let found = consumer.committed_offsets(list(partitions), ANSWER);
    if let Err(e) = &found {
        warn!(error = %e, "what the owner before had finished is not known and may be repeated");
    }
    let found = found.ok();
    let shared = &consumer.context().shared;
    let mut marks = shared.marks.lock();
    for partition in partitions {
        let Some(mark) = marks.get_mut(&partition.topic, partition.partition) else {
            continue;
        };
        let element = found
            .as_ref()
            .and_then(|found| found.find_partition(&partition.topic, partition.partition));
        mark.hear(element.and_then(|element| match element.offset() {
            Offset::Offset(offset) if element.error().is_ok() => {
                note::decode(partition, offset, element.metadata())
            }
            _ => None,
        }));
    }
    drop(marks);
    shared.changed.notify_all();
}
