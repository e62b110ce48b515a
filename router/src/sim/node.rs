//! A router: the real cores, and between them the order of effects that the real rim keeps.
//!
//! In: one step after the other, in any order. Out: effects on the world. Always: between any two steps it may die,
//! and nothing that it knows outlives it.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use carillon_bus::{Record, TopicPartition};
use carillon_schemas::headers;
use carillon_store::{Head, NewNotification, Scheduled};
use tokio::time::Instant;

use super::{
    consumer::Consumer,
    log::{Group, Log},
    world::{By, World},
};
use crate::{
    breaker::{Breaker, Permit, State},
    fair::{Bounds, Fair, Weights, ledger::Ledger},
    hold::Dependency,
    ladder::Ladder,
    overflow::Kept,
    sources::Source,
    travel::Travel,
    waiting::Waiting,
    work::{End, Item},
};

/// A record on its way, after its turn came.
pub(super) struct Flight {
    pub(super) by: By,
    pub(super) record: Record,
    pub(super) source: Source,
    pub(super) travel: Travel,
    /// The notification, where the record could be opened.
    pub(super) new: Option<NewNotification>,
    pub(super) head: Option<Head>,
    pub(super) end: Option<End>,
    /// How often the store did not take it alone.
    pub(super) alone: u32,
    pub(super) stored: bool,
    /// Its delivery, where it stands.
    pub(super) sent: Option<(i32, i64)>,
    pub(super) checked: bool,
    pub(super) moved: bool,
    pub(super) recorded: bool,
}

/// A router.
pub(super) struct Node {
    pub(super) name: Arc<str>,
    /// How far its clock is ahead of the brokers'.
    pub(super) ahead_ms: i64,
    pub(super) jumped: bool,
    pub(super) main: Consumer,
    pub(super) ladder: Consumer,
    pub(super) follower: Consumer,
    pub(super) ledger: Ledger,
    pub(super) fair: Fair<Item>,
    pub(super) waiting: Waiting<Item>,
    /// On their way to the overflow, in order.
    pub(super) overflowing: VecDeque<Item>,
    /// What the follower read and may not hand on yet.
    pub(super) following: Vec<Item>,
    /// What waits until its tenant leaves the overflow.
    pub(super) kept: Kept,
    /// What is scheduled and was handed on, until it is finished.
    pub(super) due: Vec<Scheduled>,
    /// Partitions of notifications that are another's without its knowledge.
    pub(super) unaware: BTreeSet<i32>,
    pub(super) fresh: VecDeque<Flight>,
    pub(super) stored: VecDeque<Flight>,
    pub(super) settling: VecDeque<Flight>,
    /// The store took something: what fails now may fail alone.
    pub(super) took: bool,
    pub(super) tiers: Ladder,
    pub(super) began: Instant,
    breakers: [Breaker; 2],
    paused: bool,
}

impl Node {
    pub(super) fn new(number: usize, log: &Log, ahead_ms: i64) -> Self {
        let bounds = Bounds {
            records_per_lane: 3,
            bytes_per_lane: 2_000,
            quantum: 256,
        };
        let waits = (
            std::time::Duration::from_millis(100),
            std::time::Duration::from_secs(30),
        );
        Self {
            name: format!("r{number}").into(),
            ahead_ms,
            jumped: false,
            main: Consumer::new(Group::Main),
            ladder: Consumer::new(Group::Ladder),
            follower: Consumer::new(Group::Overflow),
            ledger: Ledger::new(bounds),
            fair: Fair::new(bounds, Weights::new()),
            waiting: Waiting::default(),
            overflowing: VecDeque::new(),
            following: Vec::new(),
            kept: Kept::default(),
            due: Vec::new(),
            unaware: BTreeSet::new(),
            fresh: VecDeque::new(),
            stored: VecDeque::new(),
            settling: VecDeque::new(),
            took: false,
            tiers: Ladder::new(&log.names.retry).expect("there are tiers"),
            began: Instant::now(),
            breakers: [Breaker::new(2, waits), Breaker::new(2, waits)],
            paused: false,
        }
    }

    pub(super) fn now_ms(&self, world: &World) -> u64 {
        world.now_ms.saturating_add_signed(self.ahead_ms)
    }

    pub(super) fn consumer(&mut self, group: Group) -> &mut Consumer {
        match group {
            Group::Main => &mut self.main,
            Group::Ladder => &mut self.ladder,
            Group::Overflow => &mut self.follower,
        }
    }

    /// A partition is its own from now on.
    pub(super) fn assigned(&mut self, world: &World, at: &TopicPartition) {
        let Some(group) = world.log.group_of(&at.topic) else {
            return;
        };
        let from = self.consumer(group).assign(world, at);
        if *at.topic == *world.log.names.notifications {
            self.ledger.assigned(at.partition, from);
            self.follower.assign(world, &overflow(world, at.partition));
        }
        if self.paused {
            self.pause(true);
        }
    }

    /// A partition is another's. What is begun goes on; what is not is left to the other.
    pub(super) fn revoked(&mut self, world: &World, at: &TopicPartition) {
        let mut gone = vec![at.clone()];
        if let Some(group) = world.log.group_of(&at.topic) {
            self.consumer(group).revoke(at);
        }
        if *at.topic == *world.log.names.notifications {
            let overflow = overflow(world, at.partition);
            self.ledger.revoked(at.partition);
            self.kept.drop_partitions(&[at.partition]);
            self.unaware.remove(&at.partition);
            self.follower.revoke(&overflow);
            gone.push(overflow);
            self.due.retain(|row| row.partition != at.partition);
        }
        self.fair.drop_partitions(&gone);
        self.waiting.revoke(&gone);
        self.overflowing.retain(|item| !item.is_of(&gone));
        self.following.retain(|item| !item.is_of(&gone));
    }

    /// Asks a dependency, if its breaker lets this router.
    pub(super) fn may_ask(&mut self, world: &mut World, dependency: Dependency) -> bool {
        let breaker = &mut self.breakers[dependency as usize];
        match breaker.ask(self.began) {
            Permit::Go | Permit::Probe => true,
            Permit::WaitForProbe => false,
            Permit::WaitUntil(_) => {
                // Its wait is over at some time, or the probe has news.
                if world.rng.chance(40) {
                    breaker.wake(self.began);
                }
                false
            }
        }
    }

    /// What a dependency answered.
    pub(super) fn answered(&mut self, dependency: Dependency, well: bool) {
        let breaker = &mut self.breakers[dependency as usize];
        let changed = if well {
            breaker.succeeded()
        } else {
            breaker.failed(self.began, true)
        };
        if changed {
            let open = self.breakers.iter().any(|b| b.state() != State::Closed);
            self.pause(open);
        }
    }

    fn pause(&mut self, pause: bool) {
        self.paused = pause;
        self.main.pause_all(pause);
        self.ladder.pause_all(pause);
        self.follower.pause_all(pause);
    }

    /// Asks a dependency that was away, while nothing flows.
    pub(super) fn probe(&mut self, world: &mut World) -> bool {
        let mut any = false;
        for dependency in Dependency::ALL {
            let closed = self.breakers[dependency as usize].state() == State::Closed;
            if !closed {
                any = true;
                if self.may_ask(world, dependency) {
                    let down = match dependency {
                        Dependency::Store => world.faults.store_down,
                        Dependency::Kafka => world.faults.kafka_down,
                    };
                    self.answered(dependency, !down);
                }
            }
        }
        any
    }

    /// What is finished in the overflow is told to the ledger.
    pub(super) fn passed(&mut self, world: &World, partition: i32) {
        if let Some(mark) = self.follower.mark(&overflow(world, partition)) {
            self.ledger.passed(partition, mark);
        }
    }

    /// Lets a record go at its source.
    pub(super) fn finish(&mut self, world: &mut World, record: &Record, source: &Source) {
        match source {
            Source::Main | Source::Redrive => self.main.finish(record),
            Source::Ladder { .. } => self.ladder.finish(record),
            Source::Overflow => {
                self.follower.finish(record);
                self.passed(world, record.partition);
            }
            Source::Schedule(row) => self.due.retain(|due| due != row),
        }
    }
}

pub(super) fn notifications(world: &World, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: world.log.names.notifications.as_str().into(),
        partition,
    }
}

pub(super) fn overflow(world: &World, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: world.log.names.overflow.as_str().into(),
        partition,
    }
}

/// A record, moved.
pub(super) fn outgoing(
    record: &Record,
    topic: &str,
    partition: Option<i32>,
    headers: headers::Headers,
) -> carillon_bus::Outgoing {
    carillon_bus::Outgoing {
        topic: topic.into(),
        partition,
        key: record.key.clone().unwrap_or_default(),
        value: record.value.clone().unwrap_or_default(),
        headers,
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: paused {}, lanes {}, overflowing {}, following {}, kept back {:?}, fresh {}, stored {}, settling {}",
            self.name,
            self.paused,
            self.fair.len(),
            self.overflowing.len(),
            self.following.len(),
            self.kept.partitions(),
            self.fresh.len(),
            self.stored.len(),
            self.settling.len()
        )?;
        write!(
            f,
            " {:?} {:?} {:?} ledger {:?}",
            self.main, self.ladder, self.follower, self.ledger
        )?;
        for flight in self
            .fresh
            .iter()
            .chain(&self.stored)
            .chain(&self.settling)
            .take(3)
        {
            let Flight {
                by,
                travel,
                end,
                alone,
                ..
            } = flight;
            write!(f, " [{by:?} {travel:?} {end:?} alone {alone}]")?;
        }
        Ok(())
    }
}

impl Flight {
    pub(super) fn new(
        by: By,
        record: Record,
        source: Source,
        travel: Travel,
        new: Option<NewNotification>,
    ) -> Self {
        Self {
            by,
            record,
            source,
            travel,
            new,
            head: None,
            end: None,
            alone: 0,
            stored: false,
            sent: None,
            checked: false,
            moved: false,
            recorded: false,
        }
    }
}
