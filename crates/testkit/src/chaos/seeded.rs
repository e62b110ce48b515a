//! The checker is checked: bugs that can be switched on in a binary, and what must catch each.
//!
//! In: nothing. Out: names, the rules of which one must be broken, and how the bug is provoked. Always: a bug that nothing
//! catches is a hole in the checker and not in the product.

use std::time::Duration;

use super::plan::{Action, Fault, Round, Target};

/// The variable that switches a bug on, in a binary with the feature `seeded-bugs`.
pub const VARIABLE: &str = "CARILLON_SEEDED_BUG";

/// A bug of one's own making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeededBug {
    /// What the variable says.
    pub name: &'static str,
    /// Of these rules at least one is broken by it.
    pub breaks: &'static [&'static str],
    /// How it is made to show.
    pub provoked: Provoked,
}

/// What makes a bug show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provoked {
    /// Routers die with records that the store does not have yet: it stands still meanwhile.
    RouterDiesWhileTheStoreStandsStill,
    /// Nothing but poison is needed.
    Poison,
    /// The dead-letter topic takes nothing for a while.
    DeadLettersRefused,
    /// A router joins while partitions are paused because the store stands still.
    RebalanceWhilePaused,
}

/// Every bug.
pub const BUGS: [SeededBug; 5] = [
    SeededBug {
        name: "ack_before_store",
        breaks: &["R1"],
        provoked: Provoked::RouterDiesWhileTheStoreStandsStill,
    },
    SeededBug {
        name: "commit_high_water",
        breaks: &["R1"],
        provoked: Provoked::RouterDiesWhileTheStoreStandsStill,
    },
    SeededBug {
        name: "drop_failed_dead_letter",
        breaks: &["poison", "R1"],
        provoked: Provoked::DeadLettersRefused,
    },
    SeededBug {
        name: "no_resume_after_rebalance",
        breaks: &["R9", "R1"],
        provoked: Provoked::RebalanceWhilePaused,
    },
    SeededBug {
        name: "skip_tenant_check",
        breaks: &["R11"],
        provoked: Provoked::Poison,
    },
];

impl Provoked {
    /// The faults that do it.
    pub fn rounds(self) -> Vec<Round> {
        let fault = |target, action, seconds| Fault {
            target,
            action,
            lasts: Duration::from_secs(seconds),
        };
        let (store, kill) = (Target::Cassandra, Action::Kill);
        let round = |faults| Round {
            faults,
            alone: false,
            rest: Duration::from_secs(3),
        };
        match self {
            Self::Poison | Self::DeadLettersRefused => vec![],
            Self::RouterDiesWhileTheStoreStandsStill => [0, 1]
                .map(|n| {
                    let pause = fault(store, Action::Pause, 12);
                    round(vec![
                        pause,
                        fault(Target::Router(n), kill, 9),
                        fault(Target::Router(1 - n), kill, 10),
                    ])
                })
                .to_vec(),
            Self::RebalanceWhilePaused => [0, 1]
                .map(|n| {
                    let pause = fault(store, Action::Pause, 14);
                    round(vec![pause, fault(Target::Router(n), Action::Restart, 1)])
                })
                .to_vec(),
        }
    }
}
