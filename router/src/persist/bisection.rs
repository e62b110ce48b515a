//! Bisection: finding what the store does not take in a batch that it takes all or nothing of.
//!
//! In: how each part fared. Out: the next part to try. Always: pure; every row is accepted or ended once;
//! n bad rows among m cost at most about 2 n log₂ m tries more.

use std::{collections::VecDeque, ops::Range};

use crate::persist::Unwritten;

/// The parts that are left to try, the next one first.
pub(crate) struct Bisection {
    parts: VecDeque<Range<usize>>,
    ended: Vec<(usize, Unwritten)>,
}

impl Bisection {
    pub(crate) fn new(rows: usize) -> Self {
        let all = 0..rows;
        Self {
            parts: Some(all).filter(|all| !all.is_empty()).into_iter().collect(),
            ended: Vec::new(),
        }
    }

    /// The part to try now; `None` when all have been.
    pub(crate) fn next(&self) -> Option<Range<usize>> {
        self.parts.front().cloned()
    }

    /// The part was taken.
    pub(crate) fn accepted(&mut self) {
        self.parts.pop_front();
    }

    /// Something in the part is not taken: one row is ended, of more the halves are tried, the first one next.
    pub(crate) fn refused(&mut self, why: Unwritten) {
        let Some(part) = self.parts.pop_front() else {
            return;
        };
        if part.len() == 1 {
            self.ended.push((part.start, why));
            return;
        }
        let middle = part.start + part.len() / 2;
        self.parts.push_front(middle..part.end);
        self.parts.push_front(part.start..middle);
    }

    /// The rows that ended, by index.
    pub(crate) fn into_ended(self) -> Vec<(usize, Unwritten)> {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_finds_exactly_the_bad_and_accepts_every_other_once(
            rows in 0usize..200, bad: BTreeSet<u8>,
        ) {
            let bad: BTreeSet<usize> = bad.into_iter().map(usize::from).filter(|&at| at < rows).collect();
            let mut bisection = Bisection::new(rows);
            let (mut accepted, mut tries) = (Vec::new(), 0);
            while let Some(part) = bisection.next() {
                tries += 1;
                if part.clone().any(|at| bad.contains(&at)) {
                    bisection.refused(Unwritten::Refused(String::new()));
                } else {
                    accepted.extend(part);
                    bisection.accepted();
                }
            }
            let ended: BTreeSet<usize> = bisection.into_ended().into_iter().map(|(at, _)| at).collect();
            prop_assert_eq!(&ended, &bad);
            accepted.sort_unstable();
            prop_assert_eq!(accepted, (0..rows).filter(|at| !bad.contains(at)).collect::<Vec<_>>());
            prop_assert!(tries <= 1 + 2 * bad.len() * 9);
        }
    }
}
