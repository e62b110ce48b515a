//! The checker is checked: bugs that can be switched on in a binary, and what must catch each.
//!
//! In: nothing. Out: names, the rules of which one must be broken, and how the bug is provoked. Always: a bug that nothing
//! catches is a hole in the checker and not in the product.

use std::time::Duration;

use super::plan::{Action, Fault, Target};

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
    /// A router loses partitions that are paused because the store stands still, and gets them back when it goes on.
    RebalanceWhilePaused,
}

/// A step of a provocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A fault strikes.
    Begin(Fault),
    /// It is undone. Whether it stood alone: then its recovery is held against the target.
    Undo(Fault, bool),
    /// Nothing happens for so long.
    Wait(Duration),
    /// The dead-letter topic takes nothing from now on, or everything again.
    RefuseDeadLetters(bool),
}

/// Every bug.
pub const BUGS: [SeededBug; 5] = [
    SeededBug {
        name: "ack_before_store",
        breaks: &["R1", "states"],
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
        breaks: &["R9", "R1", "recovery"],
        provoked: Provoked::RebalanceWhilePaused,
    },
    SeededBug {
        name: "skip_tenant_check",
        breaks: &["R11"],
        provoked: Provoked::Poison,
    },
];

impl Provoked {
    /// Every way.
    pub const ALL: [Self; 4] = [
        Self::RouterDiesWhileTheStoreStandsStill,
        Self::Poison,
        Self::DeadLettersRefused,
        Self::RebalanceWhilePaused,
    ];

    /// What is done.
    pub fn steps(self) -> Vec<Step> {
        use Step::{Begin, RefuseDeadLetters, Undo, Wait};
        let seconds = |seconds| Wait(Duration::from_secs(seconds));
        let fault = |target, action| Fault {
            target,
            action,
            lasts: Duration::ZERO,
        };
        let store = fault(Target::Cassandra, Action::Pause);
        match self {
            Self::Poison => vec![seconds(10)],
            Self::DeadLettersRefused => vec![
                RefuseDeadLetters(true),
                seconds(20),
                RefuseDeadLetters(false),
                seconds(5),
            ],
            Self::RouterDiesWhileTheStoreStandsStill => {
                let routers = [0, 1].map(|n| fault(Target::Router(n), Action::Kill));
                let mut steps = vec![Begin(store), seconds(8)];
                steps.extend(routers.map(Begin));
                steps.push(seconds(1));
                steps.extend(routers.map(|router| Undo(router, false)));
                steps.extend([seconds(3), Undo(store, false), seconds(20)]);
                steps
            }
            Self::RebalanceWhilePaused => {
                // It stands still and does not start anew: a router that starts waits for the store before it joins.
                let stands = fault(Target::Router(1), Action::Pause);
                let leaves = fault(Target::Router(1), Action::Restart);
                vec![
                    Begin(store),
                    seconds(2),
                    // The group gives it up; its partitions go to the other router, which holds them paused ...
                    Begin(stands),
                    seconds(14),
                    // ... and gives some back while they are.
                    Undo(stands, false),
                    seconds(12),
                    Undo(store, false),
                    seconds(20),
                    // Now it gets them once more, and nothing is in their way.
                    Begin(leaves),
                    seconds(40),
                    Undo(leaves, true),
                    seconds(10),
                ]
            }
        }
    }
}
