//! Seeded bugs: wrong on purpose, so that the checker of fault runs is checked.
//!
//! In: a bug's name. Out: one promise of this crate that is broken. Always: compiled with the feature
//! `seeded-bugs` alone, and off until one is chosen.

use std::str::FromStr;

use crate::{consumer::Shared, offsets::Commit};

/// A promise to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeededBug {
    /// Commits say that everything is finished that was handed out: `commit_high_water`.
    CommitHighWater,
    /// Partitions of a member that are paused when its group rebalances stay so: `no_resume_after_rebalance`.
    NoResumeAfterRebalance,
}

/// The name is no bug of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be commit_high_water or no_resume_after_rebalance")]
pub struct SeededBugError;

impl FromStr for SeededBug {
    type Err = SeededBugError;
    fn from_str(name: &str) -> Result<Self, SeededBugError> {
        match name {
            "commit_high_water" => Ok(Self::CommitHighWater),
            "no_resume_after_rebalance" => Ok(Self::NoResumeAfterRebalance),
            _ => Err(SeededBugError),
        }
    }
}

/// What is committed instead.
pub(crate) fn high_water(due: &[Commit], shared: &Shared) -> Vec<Commit> {
    let marks = shared.marks.lock();
    let mut seeded = due.to_vec();
    for commit in &mut seeded {
        let mark = marks.get(&commit.partition.topic, commit.partition.partition);
        if let Some(next) = mark.and_then(crate::offsets::LowWaterMark::next) {
            commit.offset = next;
            commit.note.clear();
        }
    }
    seeded
}
