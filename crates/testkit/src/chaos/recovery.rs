//! Recovery: how long a fault that stood alone was felt.
//!
//! In: a history. Out: per fault, the longest time without a 202 and without a frame of any place, beyond the time
//! for which all of its kind was away. Always: a window ends where the next fault begins.

use std::collections::BTreeMap;

use super::{
    history::{History, Strike},
    plan::{Action, Target},
};

/// How long a fault was felt, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// The longest time without a 202 in any place.
    pub accepted: u64,
    /// The longest time without a frame of any place at any listener.
    pub frames: u64,
}

impl Recovery {
    /// The longer of both.
    pub fn longest(self) -> u64 {
        self.accepted.max(self.frames)
    }
}

/// The target of a kind of fault in milliseconds, from `reliability.md` where it names one.
pub(super) fn target(target: Target) -> u64 {
    match target {
        Target::Ingest(_) | Target::Fanout(_) => 5_000,
        // The group gives a member up after 10 s.
        Target::Router(_) => 15_000,
        // The controller gives a broker up after 5 s; where it died with it, another is elected first.
        Target::Broker(_) => 10_000,
        // It has no second: counted from its return. The router's backoff may have grown to 30 s.
        Target::Cassandra => 40_000,
        // Counted from its return: clients' backoff ends at some seconds.
        Target::Everything => 10_000,
    }
}

/// The recoveries of faults that stood alone, by kind and what was done.
pub(super) fn recoveries(history: &History) -> BTreeMap<(&'static str, Action), Vec<(Target, Recovery)>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for strike in history.strikes.iter().filter(|s| s.alone) {
        let key = (strike.fault.target.kind(), strike.fault.action);
        let entry = (strike.fault.target, recovery(history, strike));
        all.entry(key).or_default().push(entry);
    }
    all
}

/// What one strike did.
pub fn recovery(history: &History, strike: &Strike) -> Recovery {
    let window = (strike.at, strike.until);
    let mut answers = vec![Vec::new(); history.places.len()];
    let from = history.accepted.partition_point(|a| a.at < window.0);
    for accepted in history.accepted[from..].iter().take_while(|a| a.at <= window.1) {
        answers[accepted.place].push(accepted.at);
    }
    let mut frames: BTreeMap<(usize, usize), Vec<u64>> = BTreeMap::new();
    for (listener, l) in history.listeners.iter().enumerate() {
        for (place, (tenant, _)) in history.places.iter().enumerate() {
            if *tenant == l.tenant && history.flows(place) {
                frames.insert((listener, place), Vec::new());
            }
        }
    }
    let from = history.sightings.partition_point(|s| s.at < window.0);
    for seen in history.sightings[from..].iter().take_while(|s| s.at <= window.1) {
        if let Some(frames) = frames.get_mut(&(seen.listener, seen.place)) {
            frames.push(seen.at);
        }
    }
    // What has no second was expected to be silent while it was away, and what stands still is not dead yet.
    let expected = match strike.fault.action {
        Action::Pause => strike.undone - strike.at,
        _ if strike.fault.target.has_second() => 0,
        _ => strike.undone - strike.at,
    };
    let longest = |moments: &[u64]| silence(moments, window).saturating_sub(expected);
    let flowing = (0..history.places.len()).filter(|place| history.flows(*place));
    Recovery {
        accepted: flowing.map(|place| longest(&answers[place])).max().unwrap_or(0),
        frames: frames.values().map(|f| longest(f)).max().unwrap_or(0),
    }
}

/// The longest time without an event in a window; its ends count as events.
fn silence(moments: &[u64], (from, to): (u64, u64)) -> u64 {
    let (longest, last) = moments.iter().fold((0, from), |(longest, last), at| {
        (longest.max(at.saturating_sub(last)), (*at).max(last))
    });
    longest.max(to.saturating_sub(last))
}

impl History {
    /// Whether frames of a place are to be expected all the time: it has plain notifications.
    pub fn flows(&self, place: usize) -> bool {
        !self.places[place].1.as_str().starts_with(super::check::LIMITED)
    }
}

#[cfg(test)]
mod tests {
    use super::silence;

    #[test]
    fn silence_is_the_longest_gap_and_begins_and_ends_with_the_window() {
        assert_eq!(silence(&[11, 15, 16], (10, 17)), 4);
        assert_eq!(silence(&[], (10, 17)), 7);
        assert_eq!(silence(&[11], (10, 20)), 9);
        assert_eq!(silence(&[19, 20], (10, 20)), 9);
    }
}
