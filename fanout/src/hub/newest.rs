//! The newest notification of each collapse key that came past of late.
//!
//! In: keyed deliveries as they come. Out: whether a newer one came before. Always: bounded; what is forgotten is
//! delivered, never held back.
//!
//! The router leaves out what is superseded when it dispatches. One that was stopped between that decision and its
//! write goes on when it wakes, after the router that took its partition over has dispatched the newer one: nothing
//! fences that write, so it is seen here.

use std::collections::HashMap;

use carillon_schemas::{CollapseKey, NotificationId, Stream, TenantId};

/// Keys of a generation. Two are kept, some 200 bytes a key, so that a key is remembered for at least as many others.
const KEYS: usize = 512;

/// Whose key, and of which stream.
pub(crate) type Key = (TenantId, Stream, CollapseKey);

/// When it was accepted, Unix milliseconds, and its id: which is newer is decided as in the store.
pub(crate) type Age = (u64, NotificationId);

/// What came past.
#[derive(Debug, Default)]
pub(super) struct Newest {
    young: HashMap<Key, Age>,
    old: HashMap<Key, Age>,
}

impl Newest {
    /// One came past. Says whether a newer one of its key did before.
    pub(super) fn is_superseded(&mut self, key: Key, age: Age) -> bool {
        let known = self.young.get(&key).or_else(|| self.old.get(&key));
        if known.is_some_and(|known| *known > age) {
            return true;
        }
        if self.young.len() >= KEYS && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, age);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        let stream = Stream::Channel("c".parse().unwrap());
        ("acme".parse().unwrap(), stream, format!("k{n}").parse().unwrap())
    }

    fn age(at: u64) -> Age {
        (at, NotificationId::at(at, &[0; 10]))
    }

    #[test]
    fn an_older_one_behind_a_newer_one_of_its_key_is_superseded_and_a_repeat_is_not() {
        let mut newest = Newest::default();
        let seen = [5, 7, 6, 7, 8].map(|at| newest.is_superseded(key(0), age(at)));
        assert_eq!(seen, [false, false, true, false, false]);
        assert!(!newest.is_superseded(key(1), age(1)));
    }

    #[test]
    fn a_key_is_remembered_for_as_many_others_and_no_more_than_twice_that_are_kept() {
        let mut newest = Newest::default();
        assert!(!newest.is_superseded(key(0), age(9)));
        for n in 1..=KEYS {
            assert!(!newest.is_superseded(key(n), age(1)));
        }
        assert!(newest.is_superseded(key(0), age(8)));
        for n in 1..10 * KEYS {
            newest.is_superseded(key(n), age(1));
            assert!(newest.young.len() + newest.old.len() <= 2 * KEYS);
        }
        assert!(!newest.is_superseded(key(0), age(8)));
    }
}
