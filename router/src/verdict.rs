//! Verdicts: what becomes of a record, given how its handling ended and how far it has come.
//!
//! In: an outcome, the counters of the record, the time. Out: done, proceed, hold in place, retry, or dead letter.
//! Always: pure and total, the whole policy in one match; trouble of the store or of Kafka never moves a record;
//! each way to the ladder passes the stop conditions.

use carillon_bus::SendError;
use carillon_schemas::status::{Stamp, Status};
use carillon_store::{Head, StoreError};

use crate::{
    hold::Dependency,
    poison::{Class, Code, Poison},
    travel::Travel,
};

/// Most attempts of one record before it is a dead letter.
pub(crate) const ATTEMPTS_MOST: u8 = 6;
/// Most moves of one record between topics.
pub(crate) const HOPS_MOST: u8 = 32;
/// Oldest age, in milliseconds since it was first seen, at which a record is tried again: 24 hours.
pub(crate) const AGE_MOST_MS: u64 = 24 * 3_600_000;
/// Longest reason in words, in bytes.
const MESSAGE_BYTES: usize = 256;

/// How one step of a record's handling ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It may have been handled before, and this is what the store knows.
    Before(Option<Head>),
    /// It cannot be read, or not be handled as it is.
    Poison(Poison),
    /// The store did not take it.
    Store(StoreError),
    /// The store did not take it, alone and repeatedly, while it took others.
    Alone(String),
    /// Kafka did not take its delivery.
    Send(SendError),
    /// Its last dispatch was not acknowledged; `last` when it waited on the last tier.
    Unacknowledged { last: bool },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is left to do: let its offset go.
    Done,
    /// Not decided by this outcome: its handling begins or goes on.
    Proceed,
    /// Systemic: keep it here and try again.
    Hold(Dependency, String),
    /// It may work later: to the ladder, then let its offset go.
    Retry(Reason),
    /// It never will work, or did not often enough: to the dead letters, then let its offset go.
    DeadLetter(Reason),
}

/// What a dead letter, or a record on the ladder, says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) class: Class,
    pub(crate) code: Code,
    pub(crate) text: String,
}

impl Reason {
    fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            class: code.class(),
            code,
            text: text.into(),
        }
    }

    /// The reason in words, short enough for a header.
    pub(crate) fn message(&self) -> String {
        let end = (0..=MESSAGE_BYTES.min(self.text.len()))
            .rev()
            .find(|&at| self.text.is_char_boundary(at));
        self.text[..end.unwrap_or(0)].to_owned()
    }
}

/// The policy.
pub(crate) fn verdict(outcome: Outcome, travel: &Travel, now_ms: u64) -> Verdict {
    match outcome {
        Outcome::Before(Some(head)) if was_handled(head, travel) => Verdict::Done,
        Outcome::Before(_) => Verdict::Proceed,
        Outcome::Poison(poison) => dead(poison.code, poison.reason),
        Outcome::Store(StoreError::Refused(text)) => dead(Code::StoreRefused, text),
        Outcome::Store(error) => Verdict::Hold(Dependency::Store, error.to_string()),
        Outcome::Alone(text) => again(Reason::new(Code::StoreTimeout, text), travel, now_ms),
        Outcome::Send(error @ SendError::TooLarge) => dead(Code::TooLarge, error.to_string()),
        // Refused is a missing topic or right, which every record meets alike: an operator must act, and
        // the records wait for it.
        Outcome::Send(error) => Verdict::Hold(Dependency::Kafka, error.to_string()),
        Outcome::Unacknowledged { last } if last || is_spent(travel, now_ms) => {
            let text = format!("nobody acknowledged delivery {}", travel.delivery);
            dead(Code::NotAcknowledged, text)
        }
        Outcome::Unacknowledged { .. } => Verdict::Proceed,
    }
}

fn dead(code: Code, text: impl Into<String>) -> Verdict {
    Verdict::DeadLetter(Reason::new(code, text))
}

/// To the ladder, unless a stop condition holds.
fn again(reason: Reason, travel: &Travel, now_ms: u64) -> Verdict {
    if travel.attempt >= ATTEMPTS_MOST {
        let text = format!("failed in {} attempts: {}", travel.attempt, reason.text);
        return dead(reason.code, text);
    }
    if age(travel, now_ms) >= AGE_MOST_MS {
        return dead(Code::TooOld, format!("older than 24 hours: {}", reason.text));
    }
    match too_many_hops(travel) {
        Some(poison) => dead(poison.code, poison.reason),
        None => Verdict::Retry(reason),
    }
}

fn is_spent(travel: &Travel, now_ms: u64) -> bool {
    travel.attempt >= ATTEMPTS_MOST || travel.hops >= HOPS_MOST || age(travel, now_ms) >= AGE_MOST_MS
}

fn age(travel: &Travel, now_ms: u64) -> u64 {
    now_ms.saturating_sub(travel.first_seen_ms)
}

/// Why this record may not be moved once more.
pub(crate) fn too_many_hops(travel: &Travel) -> Option<Poison> {
    (travel.hops >= HOPS_MOST).then(|| {
        let text = format!("moved between topics {} times", travel.hops);
        Poison::new(Code::TooManyHops, text)
    })
}

/// Whether what this record asks for was done before, in the same redrive or a later one. A receipt does not say so: a
/// socket may have taken the delivery of a router that died before its check was written.
fn was_handled(head: Head, travel: &Travel) -> bool {
    if travel.check && head.acked_at.is_some() {
        return true;
    }
    let Some(Stamp {
        redrive,
        attempt,
        status,
    }) = head.settled
    else {
        return false;
    };
    if redrive != travel.redrive {
        return redrive > travel.redrive;
    }
    if travel.check {
        // Dispatched again since, or ended otherwise.
        let dispatched_since = attempt > travel.attempt && status >= Status::Dispatched;
        return dispatched_since || status >= Status::Cancelled;
    }
    match attempt.cmp(&travel.attempt) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => status >= Status::Dispatched,
        // An earlier attempt that ended on the ladder is why this one is there.
        std::cmp::Ordering::Less => status >= Status::Dispatched && status != Status::Retrying,
    }
}

#[cfg(test)]
#[path = "verdict/tests.rs"]
mod tests;
