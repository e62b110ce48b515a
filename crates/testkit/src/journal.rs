//! The journal of a run, and the checker that reads it.
//!
//! In: what was accepted and what each listener received, in the order in which it happened.
//! Out: a verdict with figures. Always: what was answered 202 must have arrived once, in its channel's order,
//! and nothing foreign beside it.

use std::collections::{BTreeMap, HashMap, HashSet};

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
}

/// What happened in a run.
#[derive(Debug, Default)]
pub struct Journal {
    accepted: BTreeMap<Place, Vec<(u64, NotificationId)>>,
}

/// What the checker found for one listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Notifications that were answered 202.
    pub accepted: usize,
    /// Frames received.
    pub received: usize,
    /// Accepted and never received.
    pub lost: usize,
    /// Received more often than once.
    pub doubled: usize,
    /// Received after a later one of the same channel.
    pub inverted: usize,
    /// Of a tenant or channel that the listener did not ask for.
    pub foreign: usize,
}

impl Journal {
    /// Notes that a numbered notification was answered 202.
    pub fn accepted(&mut self, place: &Place, number: u64, id: NotificationId) {
        self.accepted.entry(place.clone()).or_default().push((number, id));
    }

    /// Every accepted id with its tenant.
    pub fn ids(&self) -> impl Iterator<Item = (&TenantId, NotificationId)> {
        self.accepted
            .iter()
            .flat_map(|((tenant, _), all)| all.iter().map(move |(_, id)| (tenant, *id)))
    }

    /// Holds what a listener of these places received against what was accepted there.
    pub fn check(&self, places: &[Place], received: &[Received]) -> Figures {
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
            let accepted = self.accepted.get(place).map(Vec::as_slice).unwrap_or_default();
            figures.accepted += accepted.len();
            figures.lost += accepted.iter().filter(|(_, id)| !seen.contains(id)).count();
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
        }
    }

    #[test]
    fn the_checker_catches_each_kind_of_fault() {
        let mut journal = Journal::default();
        for n in 1..=3 {
            journal.accepted(&place("a"), n, id(n));
        }
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
}
