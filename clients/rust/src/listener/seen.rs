//! What was handed out already: a bounded memory of (notification, delivery).
//!
//! In: a notification's id and delivery count. Out: whether it is new.
//! Always: the oldest is forgotten for the newest, so that memory is bounded whatever comes.

use std::collections::{HashSet, VecDeque};

use carillon_schemas::NotificationId;

type Key = (NotificationId, u32);

/// The last so many notifications.
#[derive(Debug)]
pub(super) struct Seen {
    order: VecDeque<Key>,
    known: HashSet<Key>,
    bound: usize,
}

impl Seen {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            order: VecDeque::new(),
            known: HashSet::new(),
            bound,
        }
    }

    /// Takes a notification in; `false` when it was there. A memory of nothing finds everything new.
    pub(super) fn insert(&mut self, id: NotificationId, delivery: u32) -> bool {
        let key = (id, delivery);
        if !self.known.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > self.bound
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_known_until_it_is_forgotten() {
        let id = |n| NotificationId::from_bytes([n; 16]);
        let mut seen = Seen::new(2);
        assert!(seen.insert(id(1), 1) && !seen.insert(id(1), 1));
        assert!(seen.insert(id(1), 2), "a deliberate repeat is no duplicate");
        assert!(seen.insert(id(2), 1));
        assert!(seen.insert(id(1), 1), "the bound is two");
        assert_eq!((seen.order.len(), seen.known.len()), (2, 2));
    }

    #[test]
    fn who_remembers_nothing_gets_every_repeat() {
        let id = NotificationId::from_bytes([1; 16]);
        let mut seen = Seen::new(0);
        assert!(seen.insert(id, 1) && seen.insert(id, 1));
        assert_eq!((seen.order.len(), seen.known.len()), (0, 0));
    }
}
