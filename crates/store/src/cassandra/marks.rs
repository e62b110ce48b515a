//! Marks: which hours of which tenants this process has noted as having something.
//!
//! In: tenants and hours that are written now. Out: those that are not noted yet.
//! Always: bounded; a mark that is forgotten is only written again, and each is renewed long before it expires.

use std::{collections::HashMap, mem};

use parking_lot::Mutex;

/// Most marks that are remembered: two hours of so many tenants. Some 10 MB.
const REMEMBERED: usize = 65_536;

/// How often a mark is renewed: within the two days that a row lives longer than it is shown.
const RENEWED_MS: u64 = 12 * 3_600_000;

/// A tenant's hour.
pub(super) type Mark = (String, i32);

/// Marks by when they were set.
#[derive(Default)]
pub(super) struct Marks(Mutex<Halves>);

/// When the younger half is full, the elder is forgotten.
#[derive(Default)]
struct Halves {
    young: HashMap<String, HashMap<i32, u64>>,
    old: HashMap<String, HashMap<i32, u64>>,
    count: usize,
}

impl Marks {
    /// Those of these that are not noted, once each.
    pub(super) fn missing<'a>(&self, wanted: impl Iterator<Item = (&'a str, i32)>, now_ms: u64) -> Vec<Mark> {
        let halves = self.0.lock();
        let mut missing = Vec::<Mark>::new();
        let mut last = None;
        for mark in wanted {
            if last == Some(mark) || halves.fresh(mark, now_ms) {
                continue;
            }
            last = Some(mark);
            missing.push((mark.0.to_owned(), mark.1));
        }
        missing.sort();
        missing.dedup();
        missing
    }

    /// These are noted now.
    pub(super) fn set(&self, marks: Vec<Mark>, now_ms: u64) {
        let mut halves = self.0.lock();
        for mark in marks {
            halves.set(mark, now_ms);
        }
    }
}

impl Halves {
    fn fresh(&self, (tenant, hour): (&str, i32), now_ms: u64) -> bool {
        let of = |half: &HashMap<String, HashMap<i32, u64>>| half.get(tenant)?.get(&hour).copied();
        let set = of(&self.young).or_else(|| of(&self.old));
        set.is_some_and(|set| now_ms.abs_diff(set) < RENEWED_MS)
    }

    fn set(&mut self, (tenant, hour): Mark, now_ms: u64) {
        if self.count >= REMEMBERED / 2 {
            self.old = mem::take(&mut self.young);
            self.count = 0;
        }
        self.young.entry(tenant).or_default().insert(hour, now_ms);
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_missing_until_it_is_set_and_again_when_it_is_due() {
        let marks = Marks::default();
        let wanted = [("a", 1), ("a", 1), ("b", 1), ("a", 1), ("a", 2)];
        let missing = marks.missing(wanted.into_iter(), 0);
        assert_eq!(missing.len(), 3);
        marks.set(missing, 0);
        assert!(marks.missing(wanted.into_iter(), RENEWED_MS - 1).is_empty());
        assert_eq!(marks.missing(wanted.into_iter(), RENEWED_MS).len(), 3);
    }

    #[test]
    fn the_memory_has_a_bound() {
        let marks = Marks::default();
        for n in 0..REMEMBERED as i32 * 2 {
            marks.set(vec![("a".to_owned(), n)], 0);
        }
        let halves = marks.0.lock();
        let kept = |half: &HashMap<String, HashMap<i32, u64>>| half.values().map(HashMap::len).sum::<usize>();
        assert!(kept(&halves.young) + kept(&halves.old) <= REMEMBERED);
    }
}
