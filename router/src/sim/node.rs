//! A router: the real cores, and between them the order of effects that the real rim keeps.
//!
//! In: one step after the other, in any order. Out: effects on the world. Always: between any two steps it may die,
//! and nothing that it knows outlives it.

use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    sync::Arc,
};

use carillon_bus::{Record, TopicPartition};
use carillon_schemas::{headers, topics::Topics};
use carillon_store::{Head, NewNotification, Scheduled};
use tokio::time::Instant;

use super::{
    consumer::Consumers,
    log::Log,
    reading::Followed,
    world::{By, World},
};
use crate::{
    breaker::{Breaker, Permit, State},
    fair::{Bounds, Fair, Weights},
    hold::Dependency,
    intake::Intake,
    ladder::Ladder,
    overflow::{Consumers as _, Found, Overflow, Placed, TakeOver},
    sources::Source,
    travel::Travel,
    work::{End, Item, Way},
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
    pub(super) consumers: Rc<Consumers>,
    pub(super) intake: Intake<Rc<Consumers>>,
    /// Being written to the overflow, in order.
    pub(super) writing: VecDeque<Item>,
    /// Stands there, and nobody has heard of it yet.
    pub(super) placed: VecDeque<Placed>,
    /// Whose overflow is being looked through, with what is committed of its notifications.
    pub(super) looking: Option<(TakeOver, i64)>,
    /// What was found there, and nobody has heard of yet.
    pub(super) found: VecDeque<Found>,
    /// What the follower has told, and nobody has heard of yet.
    pub(super) followed: VecDeque<Followed>,
    /// What is scheduled and was handed on, until it is finished.
    pub(super) due: Vec<Scheduled>,
    /// Partitions of notifications that are another's without its knowledge.
    pub(super) unaware: BTreeSet<i32>,
    pub(super) fresh: VecDeque<Flight>,
    pub(super) stored: VecDeque<Flight>,
    pub(super) settling: VecDeque<Flight>,
    /// The store took something: what fails now may fail alone.
    pub(super) took: bool,
    pub(super) tiers: Arc<Ladder>,
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
        let (name, consumers) = (Arc::from(format!("r{number}")), Rc::new(Consumers::new(log)));
        let tiers = Arc::new(Ladder::new(&log.names.retry).expect("there are tiers"));
        let Topics {
            notifications,
            overflow,
            ..
        } = &log.names;
        let intake = Intake::new(
            Arc::clone(&name),
            Arc::clone(&tiers),
            notifications.as_str().into(),
            Fair::new(bounds, Weights::new()),
            Overflow::new(Rc::clone(&consumers), notifications, overflow, bounds),
        );
        Self {
            name,
            ahead_ms,
            jumped: false,
            consumers,
            intake,
            writing: VecDeque::new(),
            placed: VecDeque::new(),
            looking: None,
            found: VecDeque::new(),
            followed: VecDeque::new(),
            due: Vec::new(),
            unaware: BTreeSet::new(),
            fresh: VecDeque::new(),
            stored: VecDeque::new(),
            settling: VecDeque::new(),
            took: false,
            tiers,
            began: Instant::now(),
            breakers: [Breaker::new(2, waits), Breaker::new(2, waits)],
            paused: false,
        }
    }

    pub(super) fn now_ms(&self, world: &World) -> u64 {
        world.now_ms.saturating_add_signed(self.ahead_ms)
    }

    /// A partition is its own from now on.
    pub(super) fn assigned(&mut self, world: &World, at: &TopicPartition) {
        let Some(group) = world.log.group_of(&at.topic) else {
            return;
        };
        self.consumers.of(group).borrow_mut().assign(world, at);
        if *at.topic == *world.log.names.notifications {
            self.intake.overflow().own(&[at.partition]);
        }
        self.keep_paused();
    }

    /// What was assigned is paused too while nothing flows.
    pub(super) fn keep_paused(&self) {
        if self.paused {
            self.consumers.pause_all(true);
        }
    }

    /// A partition is another's. What is begun goes on; what is not is left to the other.
    pub(super) fn revoked(&mut self, world: &World, at: &TopicPartition) {
        let of_notifications = *at.topic == *world.log.names.notifications;
        let ours = [at.partition];
        let ours = if of_notifications { &ours[..] } else { &[] };
        for item in self.intake.revoke(std::slice::from_ref(at), ours) {
            self.consumers.let_go(&item);
        }
        if let Some(group) = world.log.group_of(&at.topic) {
            self.consumers.of(group).borrow_mut().revoke(at);
        }
        if of_notifications {
            self.unaware.remove(&at.partition);
            self.due.retain(|row| row.partition != at.partition);
        }
    }

    /// Whether it has a partition of the notifications, as far as it knows.
    pub(super) fn has(&self, world: &World, partition: i32) -> bool {
        let main = self.consumers.main.borrow();
        main.positions.contains_key(&notifications(world, partition))
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
        self.consumers.pause_all(pause);
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

    /// Lets a record go at its source.
    pub(super) fn finish(&mut self, record: &Record, source: &Source) {
        self.consumers.finished(record, source);
        if let Source::Schedule(row) = source {
            self.due.retain(|due| due != row);
        }
    }
}

pub(super) fn notifications(world: &World, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: world.log.names.notifications.as_str().into(),
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
            "{}: paused {}, writing {}, placed {}, looking {:?}, found {}, followed {}, fresh {}, stored {}, settling {}",
            self.name,
            self.paused,
            self.writing.len(),
            self.placed.len(),
            self.looking,
            self.found.len(),
            self.followed.len(),
            self.fresh.len(),
            self.stored.len(),
            self.settling.len()
        )?;
        write!(f, " {:?} {:?}", self.consumers, self.intake)?;
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
    pub(super) fn new(by: By, way: Way, new: Option<NewNotification>) -> Self {
        Self {
            by,
            record: way.record,
            source: way.source,
            travel: way.travel,
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
