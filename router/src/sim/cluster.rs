//! The cluster: routers that come and go, who owns which partition, and what happens next.
//!
//! In: chance. Out: steps of one router, of the world around, or of the clients; at the end everything is healed
//! and drained. Always: any two steps may stand beside one another, whoever makes them.

use std::collections::BTreeMap;

use bytes::Bytes;
use carillon_bus::TopicPartition;
use carillon_schemas::headers;

use super::{
    Bug,
    clients::Clients,
    log::{Group, PARTITIONS},
    node::Node,
    redrive::Job,
    world::World,
};

/// Steps of a schedule before it is healed.
const STEPS: usize = 420;
/// Rounds in which a healed cluster comes to rest.
const ROUNDS: usize = 6_000;

/// Routers, the world, clients.
pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) nodes: Vec<Option<Node>>,
    owners: BTreeMap<TopicPartition, usize>,
    /// Who has not heard yet that a partition is another's.
    unaware: Vec<(usize, TopicPartition)>,
    pub(super) clients: Clients,
    job: Option<Job>,
    jobs: u64,
}

impl Cluster {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut world = World::new(seed, bug);
        let skewed = world.rng.chance(25);
        world.skewed = skewed;
        let mut cluster = Self {
            world,
            nodes: vec![None, None],
            owners: BTreeMap::new(),
            unaware: Vec::new(),
            clients: Clients::new(),
            job: None,
            jobs: 0,
        };
        cluster.start(0);
        if cluster.world.rng.chance(50) {
            cluster.start(1);
        }
        cluster
    }

    /// The whole schedule.
    pub(super) fn run(&mut self) {
        for _ in 0..STEPS {
            if self.world.rng.chance(22) {
                self.happening();
            } else {
                let node = self.world.rng.below(self.nodes.len());
                let deed = self.world.rng.below(DEEDS);
                self.deed(node, deed);
            }
        }
        self.heal();
        self.drain();
    }

    fn happening(&mut self) {
        match self.world.rng.below(100) {
            0..40 => {
                // A burst, so that lanes overflow.
                let count = if self.world.rng.chance(15) { 8 } else { 1 };
                (0..count).for_each(|_| self.world.send());
            }
            40..58 => self.clients.step(&mut self.world),
            58..66 => {
                self.clients.tell(&mut self.world, 15);
            }
            66..76 => {
                let most = [50, 1_000, 6_000, 40_000, 700_000];
                let most = *self.world.rng.pick(&most).unwrap_or(&50);
                self.world.now_ms += self.world.rng.between(1, most);
            }
            76..82 => self.trouble(),
            82..85 => self.crash(),
            85..88 => {
                let node = self.world.rng.below(self.nodes.len());
                self.start(node);
            }
            88..92 => self.rebalance(),
            92..94 => self.tell(),
            94..95 => self.jump(),
            95..97 => self.damage(),
            _ => self.redrive(),
        }
    }

    fn trouble(&mut self) {
        let faults = &mut self.world.faults;
        match self.world.rng.below(4) {
            0 => faults.store_down = !faults.store_down,
            1 => faults.kafka_down = !faults.kafka_down,
            2 => faults.lost_answers = 15,
            _ => *faults = super::world::Faults::default(),
        }
    }

    fn jump(&mut self) {
        if !self.world.skewed {
            return;
        }
        let by = self.world.rng.between(0, 7_200_000) as i64 - 3_600_000;
        if let Some(node) = self.nodes.iter_mut().flatten().next() {
            node.jumped = true;
            node.ahead_ms = by;
        }
    }

    /// Damages a header of a record that a router moved.
    fn damage(&mut self) {
        let world = &mut self.world;
        let names = &world.log.names;
        let mut topics: Vec<String> = names.retry.iter().map(|tier| tier.name.clone()).collect();
        topics.extend([names.overflow.clone(), names.redrive.clone()]);
        let topic = world.rng.pick(&topics).cloned().unwrap_or_default();
        let overflow = topic == world.log.names.overflow;
        let records = world.log.partition_mut(&topic, 0);
        if records.is_empty() {
            return;
        }
        let at = world.rng.below(records.len());
        let record = &mut records[at];
        let bad: [(&'static str, &'static str); 9] = [
            (headers::ATTEMPT, "0"),
            (headers::ATTEMPT, "1000000000"),
            (headers::HOPS, "-1"),
            (headers::HOPS, "1"),
            (headers::DELIVERY, "x"),
            (headers::FIRST_SEEN, "99999999999999"),
            (headers::REDRIVE_COUNT, "65"),
            (headers::TENANT, "globex"),
            (headers::TENANT, "?"),
        ];
        let (name, value) = bad[world.rng.below(bad.len())];
        // Whose the record is decides, in the overflow, whose order is kept.
        if overflow && name == headers::TENANT {
            return;
        }
        if world.rng.chance(25) && name != headers::TENANT {
            record.headers.push_raw(name, value);
        } else {
            record.headers.set(name, value);
        }
        let known = record
            .value
            .as_ref()
            .and_then(|value: &Bytes| world.by_value.get(value));
        world.damaged.extend(known.copied());
        world.disturbances += 1;
    }

    fn redrive(&mut self) {
        if self.job.is_none() {
            self.jobs += 1;
            self.job = Some(Job::new(self.jobs));
        }
        self.job_step();
    }

    /// Whether the job did something.
    fn job_step(&mut self) -> bool {
        let Some(job) = &mut self.job else { return false };
        if job.step(&mut self.world) {
            return true;
        }
        self.job = None;
        false
    }
}

/// Who owns what.
impl Cluster {
    fn alive(&self) -> Vec<usize> {
        let alive = self.nodes.iter().enumerate();
        alive.filter_map(|(at, node)| node.as_ref().map(|_| at)).collect()
    }

    fn partitions(&self) -> Vec<TopicPartition> {
        let mut all = self.world.log.partitions_of(Group::Main);
        all.extend(self.world.log.partitions_of(Group::Ladder));
        all
    }

    fn start(&mut self, number: usize) {
        if self.nodes[number].is_some() {
            return;
        }
        let ahead = match self.world.skewed {
            true => self.world.rng.between(0, 20_000) as i64 - 10_000,
            false => 0,
        };
        self.nodes[number] = Some(Node::new(number, &self.world.log, ahead));
        for at in self.partitions() {
            let unowned = !self.owners.contains_key(&at);
            if unowned || self.world.rng.chance(50) {
                self.hand_over(&at, number);
            }
        }
    }

    fn crash(&mut self) {
        let number = self.world.rng.below(self.nodes.len());
        if self.nodes[number].take().is_none() {
            return;
        }
        self.world.tell(|| format!("{number} dies"));
        self.world.disturbances += 1;
        self.unaware.retain(|(node, _)| *node != number);
        self.owners.retain(|_, owner| *owner != number);
        if let Some(other) = self.alive().first().copied() {
            self.adopt(other);
        }
    }

    /// Takes what nobody owns.
    fn adopt(&mut self, number: usize) {
        for at in self.partitions() {
            if !self.owners.contains_key(&at) {
                self.hand_over(&at, number);
            }
        }
    }

    fn rebalance(&mut self) {
        let alive = self.alive();
        let partitions = self.partitions();
        let (Some(&to), Some(at)) = (self.world.rng.pick(&alive), self.world.rng.pick(&partitions)) else {
            return;
        };
        let at = at.clone();
        self.hand_over(&at, to);
    }

    /// A partition becomes another's. The owner before ends what it has begun if it can; if it cannot, or hangs, it
    /// learns of it later.
    fn hand_over(&mut self, at: &TopicPartition, to: usize) {
        if let Some(from) = self.owners.get(at).copied() {
            if from == to {
                return;
            }
            self.world.disturbances += 1;
            let planned = self.world.rng.chance(60) && self.ends_what_it_began(from);
            if planned {
                self.deed(from, COMMIT);
                if let Some(node) = &mut self.nodes[from] {
                    node.revoked(&self.world, at);
                }
            } else {
                self.unaware.push((from, at.clone()));
                let notifications = *at.topic == *self.world.log.names.notifications;
                if let Some(node) = self.nodes[from].as_mut().filter(|_| notifications) {
                    node.unaware.insert(at.partition);
                }
            }
        }
        // Who gets it back has heard by then that it was lost.
        if let Some(known) = self.unaware.iter().position(|(node, p)| *node == to && p == at) {
            self.unaware.remove(known);
            if let Some(node) = &mut self.nodes[to] {
                node.revoked(&self.world, at);
            }
        }
        self.world
            .tell(|| format!("{at} goes from {:?} to {to}", self.owners.get(at)));
        self.owners.insert(at.clone(), to);
        if let Some(node) = &mut self.nodes[to] {
            node.assigned(&self.world, at);
        }
    }

    fn ends_what_it_began(&mut self, number: usize) -> bool {
        for _ in 0..200 {
            let Some(node) = &mut self.nodes[number] else {
                return false;
            };
            if node.in_flight() == 0 && node.writing.is_empty() {
                return true;
            }
            node.overflow(&mut self.world);
            node.store(&mut self.world);
            node.dispatch(&mut self.world);
            node.settle(&mut self.world);
        }
        false
    }

    /// Someone hears that a partition is another's.
    fn tell(&mut self) {
        if self.unaware.is_empty() {
            return;
        }
        let (number, at) = self.unaware.remove(0);
        self.world.tell(|| format!("{number} hears that {at} is gone"));
        if let Some(node) = &mut self.nodes[number] {
            node.revoked(&self.world, &at);
        }
    }
}

/// Does it to all, and says whether that did something.
fn any_of<T>(all: impl IntoIterator<Item = T>, mut act: impl FnMut(T) -> bool) -> bool {
    let mut any = false;
    for each in all {
        any |= act(each);
    }
    any
}

/// What a router can do next.
const DEEDS: usize = 16;
const COMMIT: usize = 11;

impl Cluster {
    /// One step of one router. Says whether it did something.
    fn deed(&mut self, number: usize, deed: usize) -> bool {
        let Some(node) = self.nodes.get_mut(number).and_then(Option::as_mut) else {
            return false;
        };
        let world = &mut self.world;
        match deed {
            0 | 1 => {
                let mine: Vec<_> = node.consumers.main.borrow().positions.keys().cloned().collect();
                any_of(mine, |at| node.read(world, &at))
            }
            2 => node.overflow(world),
            3 => node.scan(world),
            4 => node.follow(world),
            5 => {
                let mine: Vec<_> = node.consumers.ladder.borrow().positions.keys().cloned().collect();
                any_of(mine, |at| node.climb(world, &at))
            }
            6 => node.wake(world),
            7 => node.take(world),
            8 => node.store(world),
            9 => node.dispatch(world),
            10 | 12 => node.settle(world),
            COMMIT => self.commit(number),
            13 => any_of(0..PARTITIONS, |p| node.scan_schedule(world, p)),
            14 => node.probe(world),
            _ => node.store(world) | node.dispatch(world) | node.settle(world),
        }
    }

    fn commit(&mut self, number: usize) -> bool {
        let Some(node) = &mut self.nodes[number] else {
            return false;
        };
        let owners = &self.owners;
        // The group takes nothing from who is not the owner; the overflow has no group.
        let takes = |at: &TopicPartition| owners.get(at) == Some(&number);
        let world = &mut self.world;
        let consumers = &node.consumers;
        let main = consumers.main.borrow_mut().commit(world, takes);
        let ladder = consumers.ladder.borrow_mut().commit(world, takes);
        let follower = consumers.follower.borrow_mut().commit(world, |_| true);
        main || ladder || follower
    }

    fn heal(&mut self) {
        self.world.faults = super::world::Faults::default();
        for number in 0..self.nodes.len() {
            self.start(number);
        }
        // Once more everything changes hands, and a part of it comes back.
        for at in self.partitions().into_iter().chain(self.partitions()) {
            let to = self.world.rng.below(self.nodes.len());
            self.hand_over(&at, to);
        }
        while !self.unaware.is_empty() {
            self.tell();
        }
    }

    /// Until nothing is left to do, however much time that takes.
    fn drain(&mut self) {
        let mut idle = 0;
        for round in 1..=ROUNDS {
            // Business goes on: a store that is slow for one is told apart by what it takes of others.
            if round % 200 == 0 {
                self.world.send_plain();
            }
            let mut any = false;
            for number in 0..self.nodes.len() {
                for deed in 0..DEEDS {
                    any |= self.deed(number, deed);
                }
            }
            any |= self.clients.catch_up(&mut self.world);
            any |= self.clients.tell(&mut self.world, 15);
            any |= self.job_step();
            // A question that found nothing may have closed a breaker: twice nothing is nothing.
            idle = if any { 0 } else { idle + 1 };
            if idle > 1 && !self.sleep() {
                return;
            }
        }
        let busy = self.nodes.iter_mut().flatten();
        let text = busy.map(|node| format!("{node:?}; ")).collect::<String>();
        let text = format!("the cluster does not come to rest: {text}");
        self.world.broken("R9", text);
    }

    /// Until the next thing is due; `false` when nothing is.
    fn sleep(&mut self) -> bool {
        let now = self.world.now_ms;
        let mut dues: Vec<u64> = Vec::new();
        for node in self.nodes.iter().flatten() {
            let waits = node.intake.next_due_ms();
            dues.extend(waits.map(|due| due.saturating_add_signed(-node.ahead_ms)));
            let scheduled = self.world.store.next_due();
            dues.extend(scheduled.map(|due| due.saturating_add_signed(-node.ahead_ms)));
        }
        let Some(next) = dues.into_iter().filter(|due| *due > now).min() else {
            return false;
        };
        self.world.now_ms = next;
        true
    }

    /// Who owns a partition, for what is said about it.
    pub(super) fn owner(&self, at: &TopicPartition) -> Option<&Node> {
        self.nodes.get(*self.owners.get(at)?)?.as_ref()
    }
}
