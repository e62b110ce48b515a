//! Travel: how far a record has come, as its headers say.
//!
//! In: the headers of a record, and the kind of topic that it stands on. Out: counters within bounds, or
//! poison; and the headers of the same record on its next topic. Always: pure; headers are replaced and never
//! appended, a counter that is missing, doubled, garbled, absurd or contradicts another is poison and never
//! taken for zero, and each move between topics is one hop more.

use bytes::Bytes;
use carillon_bus::Record;
use carillon_schemas::{
    headers::{self, Headers},
    status::Stamp,
};
use uuid::Uuid;

use crate::{
    poison::{Code, Poison},
    verdict::{Reason, too_many_hops},
};

/// The first attempt; a record that never was on the ladder has no other.
pub(crate) const FIRST_ATTEMPT: u8 = 1;
/// Greatest value of a counter that is believed. Far above what the policy lets come about.
const COUNTER_MOST: u64 = 64;
/// How far ahead a due time may lie, in milliseconds: 30 days.
const NOT_BEFORE_AHEAD_MS: u64 = 30 * 86_400_000;
/// How far ahead of our clock another router's may have been, in milliseconds: a day.
const FIRST_SEEN_AHEAD_MS: u64 = 86_400_000;

/// The kind of topic that a record stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum On {
    /// Written by a producer: what is absent begins.
    Notifications,
    /// Moved there by a router.
    Overflow,
    /// Waiting there for its next attempt, or to ask whether it was acknowledged.
    Ladder,
    /// Put there by a redrive.
    Redrive,
}

/// How far a record has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Travel {
    /// Which attempt this is, from 1. Of a check: the attempt that it asks about.
    pub(crate) attempt: u8,
    /// How often the record was moved between topics.
    pub(crate) hops: u8,
    /// How often it was put back in from the dead letters.
    pub(crate) redrive: u8,
    /// Which deliberate repeat was dispatched last; 0 is none.
    pub(crate) delivery: u32,
    /// From when its age counts, Unix milliseconds.
    pub(crate) first_seen_ms: u64,
    /// When the ladder's record was to be due by its writer's clock; only on the ladder.
    pub(crate) not_before_ms: Option<u64>,
    /// It asks whether its last dispatch was acknowledged.
    pub(crate) check: bool,
    /// It may have been published before under the same id.
    pub(crate) republished: bool,
}

impl Travel {
    /// A record that comes from its producer.
    pub(crate) fn begins(now_ms: u64) -> Self {
        Self {
            attempt: FIRST_ATTEMPT,
            hops: 0,
            redrive: 0,
            delivery: 0,
            first_seen_ms: now_ms,
            not_before_ms: None,
            check: false,
            republished: false,
        }
    }

    /// What the headers of a record say. One that waited for its next attempt is in that attempt now.
    pub(crate) fn read(headers: &Headers, on: On, now_ms: u64) -> Result<Self, Poison> {
        let raw = Raw::read(headers)?;
        let moved = on != On::Notifications;
        let counter = |value, name, least, absent| raw_counter(value, name, least, absent, moved);
        let mut travel = Self {
            attempt: counter(raw.attempt, headers::ATTEMPT, 1, FIRST_ATTEMPT)?,
            hops: counter(raw.hops, headers::HOPS, u64::from(moved), 0)?,
            redrive: counter(
                raw.redrive,
                headers::REDRIVE_COUNT,
                u64::from(on == On::Redrive),
                0,
            )?,
            delivery: delivery(raw.delivery, moved)?,
            first_seen_ms: first_seen(raw.first_seen, moved, now_ms)?,
            not_before_ms: not_before(raw.not_before, on, now_ms)?,
            check: raw.check,
            republished: raw.republished,
        };
        if on == On::Ladder && !travel.check {
            travel.attempt += 1;
        }
        travel.consistent(on)?;
        Ok(travel)
    }

    /// Each attempt after the first and each redrive took a hop, and a check is about a dispatch.
    fn consistent(&self, on: On) -> Result<(), Poison> {
        let hops = u16::from(self.attempt - 1) + u16::from(self.redrive);
        if u16::from(self.hops) < hops {
            return Err(bad("carillon-hops is less than attempts and redrives took"));
        }
        let places = matches!(on, On::Ladder | On::Overflow);
        if self.check && (self.delivery == 0 || !places) {
            return Err(bad("carillon-check stands on a record that cannot be one"));
        }
        Ok(())
    }

    /// It waited in the schedule in this redrive and this attempt.
    pub(crate) fn waited(self, stamp: Stamp) -> Self {
        Self {
            attempt: stamp.attempt.max(FIRST_ATTEMPT),
            redrive: stamp.redrive,
            hops: self
                .hops
                .max((stamp.attempt.max(FIRST_ATTEMPT) - 1).saturating_add(stamp.redrive)),
            ..self
        }
    }

    /// In its dispatch: that of a check is one attempt more, because the one before was not acknowledged.
    pub(crate) fn dispatching(self) -> Self {
        Self {
            attempt: self.attempt + u8::from(self.check),
            delivery: self.delivery + 1,
            check: false,
            ..self
        }
    }

    /// After one move more.
    fn hop(self) -> Self {
        Self {
            hops: self.hops.saturating_add(1),
            not_before_ms: None,
            ..self
        }
    }

    /// The headers of this record on the overflow topic.
    pub(crate) fn to_overflow(self, record: &Record) -> Headers {
        self.hop().headers(record)
    }

    /// The headers of this record on the ladder, until its next attempt.
    pub(crate) fn to_retry(self, record: &Record, due_ms: u64, reason: &Reason) -> Headers {
        let mut headers = Self {
            not_before_ms: Some(due_ms),
            check: false,
            ..self.hop()
        }
        .headers(record);
        headers.set(headers::ERROR_CLASS, reason.class.as_str());
        headers.set(headers::ERROR_CODE, reason.code.as_str());
        headers.set(headers::ERROR_MESSAGE, reason.message());
        headers
    }

    /// The headers of the check of this dispatch on the ladder. `self` says which attempt and which delivery it is.
    pub(crate) fn to_check(self, record: &Record, due_ms: u64) -> Headers {
        Self {
            not_before_ms: Some(due_ms),
            check: true,
            ..self.hop()
        }
        .headers(record)
    }

    /// The record's headers with these counters in place of what stood there.
    fn headers(self, record: &Record) -> Headers {
        let mut headers = record.headers.clone();
        if headers.get(headers::ORIGIN).is_none() {
            headers.set(headers::ORIGIN, origin(record));
        }
        headers.set(headers::ATTEMPT, self.attempt.to_string());
        headers.set(headers::HOPS, self.hops.to_string());
        headers.set(headers::REDRIVE_COUNT, self.redrive.to_string());
        headers.set(headers::DELIVERY, self.delivery.to_string());
        headers.set(headers::FIRST_SEEN, self.first_seen_ms.to_string());
        match self.not_before_ms {
            Some(due) => headers.set(headers::NOT_BEFORE, due.to_string()),
            None => headers.remove(headers::NOT_BEFORE),
        }
        match self.check {
            true => headers.set(headers::CHECK, "1"),
            false => headers.remove(headers::CHECK),
        }
        headers
    }
}

/// Headers that a record put back in has no more.
const LEFT_BEHIND: [&str; 8] = [
    headers::CHECK,
    headers::NOT_BEFORE,
    headers::ERROR_CLASS,
    headers::ERROR_CODE,
    headers::ERROR_MESSAGE,
    headers::DLT_TOPIC,
    headers::DLT_PARTITION,
    headers::DLT_OFFSET,
];

/// The headers of a dead letter on the redrive topic: in its first attempt again, one redrive and one hop more.
///
/// Poison when what it carries cannot be believed: such a letter is not put back in.
pub(crate) fn redriven(letter: &Record, job: Uuid, now_ms: u64) -> Result<Headers, Poison> {
    let raw = Raw::read(&letter.headers)?;
    let counter = |value, name, least, absent| raw_counter(value, name, least, absent, false);
    let before = Travel {
        redrive: counter(raw.redrive, headers::REDRIVE_COUNT, 0, 0)?,
        hops: counter(raw.hops, headers::HOPS, 0, 0)?,
        delivery: delivery(raw.delivery, false)?,
        ..Travel::begins(now_ms)
    };
    if let Some(poison) = too_many_hops(&before) {
        return Err(poison);
    }
    let travel = Travel {
        redrive: before.redrive.saturating_add(1),
        ..before.hop()
    };
    let mut headers = travel.headers(letter);
    for name in LEFT_BEHIND {
        headers.remove(name);
    }
    headers.set(headers::REDRIVE_ID, job.to_string());
    Ok(headers)
}

/// `topic/partition/offset` of a record.
pub(crate) fn origin(record: &Record) -> String {
    format!("{}/{}/{}", record.topic, record.partition, record.offset)
}

/// The headers that matter here, each at most once.
#[derive(Default)]
struct Raw<'a> {
    attempt: Option<&'a Bytes>,
    hops: Option<&'a Bytes>,
    redrive: Option<&'a Bytes>,
    delivery: Option<&'a Bytes>,
    first_seen: Option<&'a Bytes>,
    not_before: Option<&'a Bytes>,
    check: bool,
    republished: bool,
}

impl<'a> Raw<'a> {
    fn read(headers: &'a Headers) -> Result<Self, Poison> {
        let mut raw = Self::default();
        for (name, value) in headers.iter() {
            let place = match name {
                headers::ATTEMPT => &mut raw.attempt,
                headers::HOPS => &mut raw.hops,
                headers::REDRIVE_COUNT => &mut raw.redrive,
                headers::DELIVERY => &mut raw.delivery,
                headers::FIRST_SEEN => &mut raw.first_seen,
                headers::NOT_BEFORE => &mut raw.not_before,
                headers::CHECK if value != "1" || raw.check => {
                    return Err(bad("carillon-check is doubled or not 1"));
                }
                headers::CHECK => {
                    raw.check = true;
                    continue;
                }
                headers::REPUBLISHED => {
                    raw.republished = true;
                    continue;
                }
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(bad(format!("{name} stands more than once")));
            }
        }
        Ok(raw)
    }
}

/// A counter from `least` to the greatest that is believed; `absent` where it may be and is.
fn raw_counter(
    value: Option<&Bytes>,
    name: &str,
    least: u64,
    absent: u8,
    required: bool,
) -> Result<u8, Poison> {
    let number = match value {
        Some(value) => number(value),
        None if required => None,
        None => Some(u64::from(absent)),
    };
    number
        .filter(|n| (least..=COUNTER_MOST).contains(n))
        .and_then(|n| u8::try_from(n).ok())
        .ok_or_else(|| {
            bad(format!(
                "{name} is missing, or not from {least} to {COUNTER_MOST}"
            ))
        })
}

fn delivery(value: Option<&Bytes>, required: bool) -> Result<u32, Poison> {
    match value {
        Some(value) => number(value)
            .and_then(|n| u32::try_from(n).ok())
            // One more must be countable as often as it may come about.
            .filter(|n| u64::from(*n) + COUNTER_MOST < u64::from(u32::MAX))
            .ok_or_else(|| bad("carillon-delivery is no delivery count")),
        None if required => Err(bad("carillon-delivery is missing")),
        None => Ok(0),
    }
}

fn first_seen(value: Option<&Bytes>, required: bool, now_ms: u64) -> Result<u64, Poison> {
    match value {
        Some(value) => number(value)
            .filter(|at| *at <= now_ms.saturating_add(FIRST_SEEN_AHEAD_MS))
            .ok_or_else(|| bad("carillon-first-seen is no moment that was")),
        None if required => Err(bad("carillon-first-seen is missing")),
        None => Ok(now_ms),
    }
}

fn not_before(value: Option<&Bytes>, on: On, now_ms: u64) -> Result<Option<u64>, Poison> {
    match value {
        Some(value) => number(value)
            .filter(|at| *at <= now_ms.saturating_add(NOT_BEFORE_AHEAD_MS))
            .map(|at| Some(at).filter(|_| on == On::Ladder))
            .ok_or_else(|| bad("carillon-not-before is no moment within 30 days")),
        None if on == On::Ladder => Err(bad("carillon-not-before is missing")),
        None => Ok(None),
    }
}

/// Digits as they are written here: no sign, no space, no zero before others.
fn number(value: &Bytes) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let padded = value.len() > 1 && value[0] == b'0';
    if !digits || padded {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn bad(text: impl Into<String>) -> Poison {
    Poison::new(Code::BadHeaders, text)
}

#[cfg(test)]
#[path = "travel/tests.rs"]
mod tests;
