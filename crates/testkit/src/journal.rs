//! The journal of a run, and the checker that reads it.
//!
//! In: attempts, 202s, states and frames, in the order in which they happened, with their moments.
//! Out: a verdict with figures. Always: what was answered 202 must have arrived once, in its channel's order,
//! and nothing foreign beside it; what is missing must have been announced.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use carillon_schemas::{ChannelName, NotificationId, TenantId};

/// One channel of one tenant.
pub type Place = (TenantId, ChannelName);

/// What was seen on a socket.
#[derive(Debug, Clone)]
pub struct Received {
    /// The tenant and channel that the frame names.
    pub place: Place,
    /// The notification.
    pub id: NotificationId,
    /// Its number, from the content.
    pub number: u64,
    /// When it came.
    pub at: Instant,
}

/// What was answered 202.
#[derive(Debug, Clone, Copy)]
pub struct Acceptance {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: NotificationId,
    /// When the answer came.
    pub at: Instant,
}

/// What happened in a run.
#[derive(Debug, Default)]
pub struct Journal {
    places: BTreeMap<Place, Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    attempts: usize,
    accepted: Vec<Acceptance>,
}

/// What the checker found for one listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests that were sent.
    pub attempts: usize,
    /// Notifications that were answered 202.
    pub accepted: usize,
    /// Frames received.
    pub received: usize,
    /// Accepted and never received.
    pub lost: usize,
    /// Of those, in a channel of which the listener was told nothing: a silent gap.
    pub silent: usize,
    /// Received more often than once.
    pub doubled: usize,
    /// Received after a later one of the same channel.
    pub inverted: usize,
    /// Of a tenant or channel that the listener did not ask for.
    pub foreign: usize,
}

impl Journal {
    /// Notes that a numbered notification is about to be sent, again perhaps.
    pub fn attempted(&mut self, place: &Place) {
        self.places.entry(place.clone()).or_default().attempts += 1;
    }

    /// Notes that a numbered notification was answered 202.
    pub fn accepted(&mut self, place: &Place, number: u64, id: NotificationId) {
        let acceptance = Acceptance {
            number,
            id,
            at: Instant::now(),
        };
        self.places
            .entry(place.clone())
            .or_default()
            .accepted
            .push(acceptance);
    }

    /// Every accepted id with its tenant.
    pub fn ids(&self) -> impl Iterator<Item = (&TenantId, NotificationId)> {
        self.places
            .iter()
            .flat_map(|((tenant, _), entries)| entries.accepted.iter().map(move |a| (tenant, a.id)))
    }

    /// What was accepted in one place, in order.
    pub fn of(&self, place: &Place) -> &[Acceptance] {
        self.places
            .get(place)
            .map(|entries| entries.accepted.as_slice())
            .unwrap_or_default()
    }

    /// Holds what a listener of these places received against what was accepted there.
    pub fn check(&self, places: &[Place], received: &[Received]) -> Figures {
        self.check_with_announcements(places, received, &[])
    }

    /// The same for a listener that was told of losses in some of its places.
    pub fn check_with_announcements(
        &self,
        places: &[Place],
        received: &[Received],
        announced: &[Place],
    ) -> Figures {
        let mut figures = Figures {
            received: received.len(),
            ..Figures::default()
        };
        let mut seen: HashSet<NotificationId> = HashSet::new();
        let mut last: HashMap<&Place, u64> = HashMap::new();
        for frame in received {
            if !places.contains(&frame.place) {
                figures.foreign += 1;
                continue;
            }
            if !seen.insert(frame.id) {
                figures.doubled += 1;
                continue;
            }
            let before = last.insert(&frame.place, frame.number);
            figures.inverted += usize::from(before.is_some_and(|b| b >= frame.number));
        }
        for place in places {
            let accepted = self.of(place);
            let lost = accepted.iter().filter(|a| !seen.contains(&a.id)).count();
            figures.attempts += self.places.get(place).map_or(0, |entries| entries.attempts);
            figures.accepted += accepted.len();
            figures.lost += lost;
            figures.silent += if announced.contains(place) { 0 } else { lost };
        }
        figures
    }
}

impl Figures {
    /// Whether nothing was lost, doubled, inverted or foreign.
    pub fn clean(&self) -> bool {
        self.lost + self.doubled + self.inverted + self.foreign == 0
    }
}

/// The longest time without an event between two moments; both count as events.
pub fn silence(events: impl IntoIterator<Item = Instant>, from: Instant, to: Instant) -> Duration {
    let within = events.into_iter().filter(|at| (from..=to).contains(at));
    let (longest, last) = within.fold((Duration::ZERO, from), |(longest, last), at| {
        (longest.max(at.saturating_duration_since(last)), at)
    });
    longest.max(to.saturating_duration_since(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(tenant: &str) -> Place {
        (tenant.parse().unwrap(), "alerts".parse().unwrap())
    }

    fn id(n: u64) -> NotificationId {
        NotificationId::at(n, &[0; 10])
    }

    fn frame(tenant: &str, number: u64) -> Received {
        Received {
            place: place(tenant),
            id: id(number),
            number,
            at: Instant::now(),
        }
    }

    fn three_accepted() -> Journal {
        let mut journal = Journal::default();
        for n in 1..=3 {
            journal.attempted(&place("a"));
            journal.accepted(&place("a"), n, id(n));
        }
        journal
    }

    #[test]
    fn the_checker_catches_each_kind_of_fault() {
        let journal = three_accepted();
        let check = |frames: &[Received]| journal.check(&[place("a")], frames);
        assert!(check(&[frame("a", 1), frame("a", 2), frame("a", 3)]).clean());
        assert_eq!(check(&[frame("a", 1), frame("a", 3)]).lost, 1);
        assert_eq!(
            check(&[frame("a", 1), frame("a", 2), frame("a", 2), frame("a", 3)]).doubled,
            1
        );
        assert_eq!(check(&[frame("a", 2), frame("a", 1), frame("a", 3)]).inverted, 1);
        assert_eq!(
            check(&[frame("a", 1), frame("b", 9), frame("a", 2), frame("a", 3)]).foreign,
            1
        );
    }

    #[test]
    fn a_gap_is_silent_unless_it_was_announced_in_its_own_channel() {
        let journal = three_accepted();
        let frames = [frame("a", 1), frame("a", 3)];
        let silent = |told: &[Place]| {
            let figures = journal.check_with_announcements(&[place("a")], &frames, told);
            (figures.lost, figures.silent)
        };
        assert_eq!(silent(&[]), (1, 1));
        assert_eq!(silent(&[place("b")]), (1, 1));
        assert_eq!(silent(&[place("a")]), (1, 0));
    }

    #[test]
    fn silence_is_the_longest_gap_and_begins_and_ends_with_the_window() {
        let zero = Instant::now();
        let at = |seconds: u64| zero + Duration::from_secs(seconds);
        let longest = |events: &[u64], to| silence(events.iter().map(|s| at(*s)), at(10), at(to)).as_secs();
        assert_eq!(longest(&[1, 11, 15, 16], 17), 4);
        assert_eq!(longest(&[], 17), 7);
        assert_eq!(longest(&[11], 20), 9);
        assert_eq!(longest(&[19, 25], 20), 9);
    }
}
