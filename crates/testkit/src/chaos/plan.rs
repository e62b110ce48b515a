//! The plan: which faults, in which order, for how long.
//!
//! In: a seed and what there is to hit. Out: rounds without end. Always: the same seed gives the same rounds; the
//! first rounds kill each kind once, alone; never are two brokers hit at once, because two of three must stay.

use std::{collections::VecDeque, fmt, time::Duration};

use serde::Serialize;

use super::random::Random;

/// What the faults fall on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Ground {
    /// Two processes of each role, three brokers, Cassandra.
    Cluster,
    /// One process with everything in it.
    Embedded,
}

/// What is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Target {
    /// One of two, counted from 0.
    Ingest(usize),
    /// One of two, counted from 0.
    Router(usize),
    /// One of two, counted from 0.
    Fanout(usize),
    /// One of three, counted from 1.
    Broker(usize),
    /// The only one.
    Cassandra,
    /// The whole of `carillon up`.
    Everything,
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Action {
    /// SIGKILL; started again after a while.
    Kill,
    /// SIGSTOP; SIGCONT after a while.
    Pause,
    /// SIGTERM; started again after a while.
    Restart,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What is hit.
    pub target: Target,
    /// How.
    pub action: Action,
    /// How long it stays away, its start not included.
    pub lasts: Duration,
}

/// One fault, or two at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Round {
    /// Those that strike together.
    pub faults: Vec<Fault>,
    /// Whether nothing else disturbs: recovery is waited for before and after, and measured.
    pub alone: bool,
    /// How long to let be afterwards.
    pub rest: Duration,
}

impl Target {
    /// Its kind in a word.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Ingest(_) => "ingest",
            Self::Router(_) => "router",
            Self::Fanout(_) => "fanout",
            Self::Broker(_) => "broker",
            Self::Cassandra => "cassandra",
            Self::Everything => "up",
        }
    }

    /// Whether another of its kind goes on while it is away.
    pub fn has_second(self) -> bool {
        !matches!(self, Self::Cassandra | Self::Everything)
    }

    /// Whether its crash makes the router repeat what it had in flight.
    pub fn routes(self) -> bool {
        matches!(self, Self::Router(_) | Self::Everything)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ingest(n) | Self::Router(n) | Self::Fanout(n) => write!(f, "{}-{}", self.kind(), n + 1),
            Self::Broker(n) => write!(f, "broker-{n}"),
            Self::Cassandra | Self::Everything => f.write_str(self.kind()),
        }
    }
}

impl Action {
    /// A word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Restart => "restart",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:.1?}", self.action.as_str(), self.target, self.lasts)
    }
}

/// A fault whose instance and length are not drawn yet.
type Card = (fn(usize) -> Target, Action);

/// Rounds without end.
#[derive(Debug, Clone)]
pub struct Plan {
    random: Random,
    ground: Ground,
    deck: VecDeque<Card>,
    /// Rounds of the beginning, which are kills that stand alone.
    opening: usize,
}

const OPENING: [Card; 5] = [
    (Target::Ingest, Action::Kill),
    (Target::Router, Action::Kill),
    (Target::Fanout, Action::Kill),
    (Target::Broker, Action::Kill),
    (|_| Target::Cassandra, Action::Kill),
];

impl Plan {
    /// A plan; every seed is good.
    pub fn new(seed: u64, ground: Ground) -> Self {
        let mut plan = Self {
            random: Random::new(seed),
            ground,
            deck: VecDeque::new(),
            opening: 0,
        };
        if ground == Ground::Cluster {
            let mut opening = OPENING;
            plan.random.shuffle(&mut opening);
            plan.deck.extend(opening);
            plan.opening = OPENING.len();
        }
        plan
    }

    /// Every kind of fault, those of roles twice, in a new order.
    fn lap(&mut self) {
        use Action::{Kill, Pause, Restart};
        let mut cards: Vec<Card> = Vec::new();
        let mut add = |target: fn(usize) -> Target, actions: &[Action]| {
            cards.extend(actions.iter().map(|action| (target, *action)));
        };
        match self.ground {
            Ground::Embedded => add(|_| Target::Everything, &[Kill, Kill, Pause, Restart]),
            Ground::Cluster => {
                for role in [Target::Ingest, Target::Router, Target::Fanout] {
                    add(role, &[Kill, Kill, Pause, Pause, Restart]);
                }
                add(Target::Broker, &[Kill, Pause]);
                add(|_| Target::Cassandra, &[Kill, Pause, Restart]);
            }
        }
        self.random.shuffle(&mut cards);
        self.deck.extend(cards);
    }

    fn card(&mut self) -> Card {
        loop {
            if let Some(card) = self.deck.pop_front() {
                return card;
            }
            self.lap();
        }
    }

    fn draw(&mut self, (target, action): Card) -> Fault {
        let seconds = Duration::from_secs;
        let instance = self.random.next() as usize;
        // Brokers are counted from 1; the others have two of each.
        let target = match target(0) {
            Target::Broker(_) => target(instance % 3 + 1),
            _ => target(instance % 2),
        };
        let lasts = match (action, target) {
            (Action::Pause, _) => self.random.between(seconds(2), seconds(15)),
            // Longer than the session that a controller gives a broker.
            (_, Target::Broker(_)) => self.random.between(seconds(7), seconds(10)),
            (Action::Restart, _) => self.random.between(seconds(0), seconds(2)),
            _ => self.random.between(seconds(1), seconds(5)),
        };
        Fault {
            target,
            action,
            lasts,
        }
    }
}

impl Iterator for Plan {
    type Item = Round;

    fn next(&mut self) -> Option<Round> {
        let opening = self.opening > 0;
        self.opening = self.opening.saturating_sub(1);
        let card = self.card();
        let first = self.draw(card);
        let mut faults = vec![first];
        let two = self.random.once_in(5) && self.ground == Ground::Cluster;
        if two && !opening {
            let card = self.card();
            let second = self.draw(card);
            if collide(&first, &second) {
                self.deck.push_back(card);
            } else {
                faults.push(second);
            }
        }
        let alone = opening || (faults.len() == 1 && self.random.once_in(2));
        // Beyond the beginning, what stood alone is sometimes followed by a calm in which things can be seen to be on time.
        let (from, to) = match (alone, opening) {
            (true, true) => (2_000, 4_000),
            (true, false) => (2_000, 12_000),
            (false, _) => (500, 2_500),
        };
        let rest = self
            .random
            .between(Duration::from_millis(from), Duration::from_millis(to));
        Some(Round { faults, alone, rest })
    }
}

/// Whether two faults cannot strike together.
fn collide(one: &Fault, other: &Fault) -> bool {
    let brokers = matches!((one.target, other.target), (Target::Broker(_), Target::Broker(_)));
    one.target == other.target || brokers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rounds(seed: u64, ground: Ground, n: usize) -> Vec<Round> {
        Plan::new(seed, ground).take(n).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_rounds_and_another_seed_gives_others() {
        assert_eq!(rounds(7, Ground::Cluster, 300), rounds(7, Ground::Cluster, 300));
        assert_ne!(rounds(7, Ground::Cluster, 300), rounds(8, Ground::Cluster, 300));
    }

    #[test]
    fn the_first_rounds_kill_each_kind_once_and_alone() {
        for seed in 0..50 {
            let opening = rounds(seed, Ground::Cluster, 5);
            assert!(opening.iter().all(|r| r.alone && r.faults.len() == 1));
            let kinds: BTreeSet<_> = opening.iter().map(|r| r.faults[0].target.kind()).collect();
            assert_eq!(kinds.len(), 5, "{opening:?}");
            assert!(opening.iter().all(|r| r.faults[0].action == Action::Kill));
        }
    }

    #[test]
    fn two_faults_at_once_are_never_of_the_same_process_nor_two_brokers() {
        let all = rounds(1, Ground::Cluster, 2_000);
        let pairs: Vec<_> = all.iter().filter(|r| r.faults.len() == 2).collect();
        assert!(pairs.len() > 200, "{}", pairs.len());
        assert!(
            pairs
                .iter()
                .all(|r| !r.alone && !collide(&r.faults[0], &r.faults[1]))
        );
    }

    #[test]
    fn every_fault_comes_and_pauses_last_two_to_fifteen_seconds() {
        let all = rounds(3, Ground::Cluster, 400);
        let faults: Vec<_> = all.iter().flat_map(|r| &r.faults).collect();
        let seen: BTreeSet<_> = faults.iter().map(|f| (f.target, f.action)).collect();
        assert_eq!(seen.len(), 6 * 3 + 3 * 2 + 3, "{seen:?}");
        for fault in faults.iter().filter(|f| f.action == Action::Pause) {
            assert!((2..=15).contains(&fault.lasts.as_secs()), "{fault}");
        }
        let embedded = rounds(3, Ground::Embedded, 100);
        assert!(embedded.iter().all(|r| r.faults.len() == 1));
    }
}
