//! Chosen partitions: a follower's, on its poll thread.
//!
//! In: what the owner wants, where partitions begin. Out: partitions that begin and end, as those of a group
//! do. Always: a partition begins where the group's committed offset stands when it was asked after the owner
//! wanted it; one that ended is committed first; what cannot be found out is asked again.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError, sync_channel},
    },
    time::{Duration, Instant},
};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer, error::KafkaError};
use tracing::{debug, warn};

use crate::{
    StartAt, TopicPartition,
    consumer::{
        callbacks::{Joined, list},
        errands::{ANSWER, Errand},
        follower::{Wish, Wishes},
    },
    offsets::note::{self, Ahead},
};

/// How long after a failure the same is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Where a partition begins, and what was finished above that.
pub(super) struct Start {
    partition: TopicPartition,
    offset: i64,
    ahead: Option<Ahead>,
}

/// Where partitions begin is being looked up.
struct Asked {
    wishes: Vec<Wish>,
    answer: Receiver<Result<Vec<Start>, KafkaError>>,
}

/// The poll thread's side of a follower.
pub(crate) struct Chosen {
    topic: Arc<str>,
    wishes: Arc<Wishes>,
    otherwise: StartAt,
    runs: Vec<Wish>,
    asked: Option<Asked>,
    not_before: Instant,
}

impl Chosen {
    pub(super) fn new(topic: &str, wishes: Arc<Wishes>, otherwise: StartAt) -> Self {
        Self {
            topic: topic.into(),
            wishes,
            otherwise,
            runs: Vec::new(),
            asked: None,
            not_before: Instant::now(),
        }
    }

    /// Whether an answer is awaited.
    pub(super) fn waits(&self) -> bool {
        self.asked.is_some()
    }

    /// Begins and ends what has to be. Returns whether it did.
    pub(super) fn follow(&mut self, consumer: &Joined) -> bool {
        let changes = self.wishes.look(&self.runs);
        self.end(consumer, &changes.end);
        // Whoever waits for an end is told by this.
        drop(changes.waiting);
        let begun = self.hear(consumer);
        if self.asked.is_none() && !begun && !changes.begin.is_empty() && Instant::now() >= self.not_before {
            self.ask(consumer, changes.begin);
        }
        begun || !changes.end.is_empty()
    }

    fn ask(&mut self, consumer: &Joined, wishes: Vec<Wish>) {
        let (answers, answer) = sync_channel(1);
        let partitions = wishes.iter().map(|wish| self.name(wish)).collect();
        if consumer
            .context()
            .ask(Errand::Starts(partitions, self.otherwise, answers))
        {
            self.asked = Some(Asked { wishes, answer });
        }
    }

    /// Takes an answer in, if there is one. Returns whether partitions begin.
    fn hear(&mut self, consumer: &Joined) -> bool {
        let Some(asked) = &self.asked else { return false };
        let answer = match asked.answer.try_recv() {
            Ok(answer) => answer,
            Err(TryRecvError::Empty) => return false,
            Err(TryRecvError::Disconnected) => {
                self.asked = None;
                return false;
            }
        };
        let wishes = self.asked.take().map(|asked| asked.wishes).unwrap_or_default();
        let still = self.wishes.still(wishes);
        let wanted = still.len();
        let begun = answer.and_then(|starts| self.begin(consumer, still, starts));
        let begun = begun.unwrap_or_else(|e| {
            warn!(topic = %self.topic, error = %e, "where partitions begin is not known, asking again");
            0
        });
        if begun < wanted {
            self.not_before = Instant::now() + AGAIN;
        }
        begun > 0
    }

    /// Begins those that are wanted and of which it is known where. Returns how many.
    fn begin(
        &mut self,
        consumer: &Joined,
        mut wishes: Vec<Wish>,
        mut starts: Vec<Start>,
    ) -> Result<usize, KafkaError> {
        let names = |start: &Start, wish: &Wish| wish.partition == start.partition.partition;
        starts.retain(|start| wishes.iter().any(|wish| names(start, wish)));
        wishes.retain(|wish| starts.iter().any(|start| names(start, wish)));
        if starts.is_empty() {
            return Ok(0);
        }
        let mut assigned = TopicPartitionList::with_capacity(starts.len());
        for Start {
            partition, offset, ..
        } in &starts
        {
            assigned.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))?;
        }
        // A pause survives an end inside librdkafka; here it does not.
        let partitions: Vec<_> = starts.iter().map(|start| start.partition.clone()).collect();
        consumer.resume(&list(&partitions))?;
        consumer.incremental_assign(&assigned)?;
        let callbacks = consumer.context();
        let mut marks = callbacks.shared.marks.lock();
        for Start { partition, ahead, .. } in &mut starts {
            marks.assign(partition);
            if let Some(mark) = marks.get_mut(&partition.topic, partition.partition) {
                mark.hear(ahead.take());
            }
        }
        drop(marks);
        let begins = starts.iter().filter_map(|start| {
            let wish = wishes.iter().find(|wish| names(start, wish))?;
            Some((*wish, start.offset))
        });
        self.wishes.begun(begins);
        self.runs.extend(wishes);
        callbacks.came(partitions);
        Ok(starts.len())
    }

    fn end(&mut self, consumer: &Joined, wishes: &[Wish]) {
        if wishes.is_empty() {
            return;
        }
        let partitions: Vec<_> = wishes.iter().map(|wish| self.name(wish)).collect();
        let ended = list(&partitions);
        consumer.context().revoked(consumer, &ended);
        if let Err(e) = consumer.incremental_unassign(&ended) {
            warn!(topic = %self.topic, error = %e, "partitions could not be let go");
        }
        self.runs.retain(|run| !wishes.contains(run));
    }

    /// Ends everything, for good.
    pub(super) fn end_all(&mut self, consumer: &Joined) {
        let runs = self.runs.clone();
        self.end(consumer, &runs);
        self.wishes.close();
    }

    fn name(&self, wish: &Wish) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(&self.topic),
            partition: wish.partition,
        }
    }
}

/// Where partitions begin: at the committed offset if that is still there, or where the options say. Those of
/// which that is not known (they are not there yet, or have no leader now) are left out.
pub(super) fn find_starts(
    consumer: &Joined,
    partitions: &[TopicPartition],
    otherwise: StartAt,
) -> Result<Vec<Start>, KafkaError> {
    let committed = consumer.committed_offsets(list(partitions), ANSWER)?;
    let low = ends(consumer, partitions, Offset::Beginning)?;
    let high = ends(consumer, partitions, Offset::End)?;
    let mut starts = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let (Some(&low), Some(&high)) = (low.get(&partition.partition), high.get(&partition.partition))
        else {
            continue;
        };
        let mut start = Start {
            partition: partition.clone(),
            offset: match otherwise {
                StartAt::Earliest => low,
                StartAt::Latest => high,
            },
            ahead: None,
        };
        if let Some(element) = committed.find_partition(&partition.topic, partition.partition) {
            if let Err(e) = element.error() {
                warn!(partition = %partition, error = %e, "what was committed is not known");
                continue;
            }
            match element.offset() {
                Offset::Offset(offset) if (low..=high).contains(&offset) => {
                    start.offset = offset;
                    start.ahead = note::decode(partition, offset, element.metadata());
                }
                Offset::Offset(offset) => {
                    warn!(partition = %partition, offset, low, high, "a committed offset is gone");
                }
                _ => {}
            }
        }
        starts.push(start);
    }
    Ok(starts)
}

/// One end of each, by partition.
fn ends(
    consumer: &Joined,
    partitions: &[TopicPartition],
    end: Offset,
) -> Result<HashMap<i32, i64>, KafkaError> {
    let mut list = list(partitions);
    list.set_all_offsets(end)?;
    let found = consumer.offsets_for_times(list, ANSWER)?;
    let mut ends = HashMap::with_capacity(partitions.len());
    for element in found.elements() {
        match (element.error(), element.offset()) {
            (Ok(()), Offset::Offset(offset)) => drop(ends.insert(element.partition(), offset)),
            (Ok(()), _) => {}
            (Err(e), _) => debug!(partition = element.partition(), error = %e, "an end is not known"),
        }
    }
    Ok(ends)
}
