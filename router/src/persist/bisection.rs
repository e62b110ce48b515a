//! Bisection: finding what the store refuses in a batch that it takes all or nothing of.
//!
//! In: how each part fared. Out: the next part to try. Always: pure; every row is accepted or refused once;
//! n refused rows among m cost at most about 2 n log₂ m tries more.

use std::ops::Range;

use crate::verdict::Reason;

/// The parts that are left to try, the next one last.
pub(crate) struct Bisection {
    parts: Vec<Range<usize>>,
    refused: Vec<(usize, Reason)>,
}

impl Bisection {
    pub(crate) fn new(rows: usize) -> Self {
        let all = 0..rows;
        Self {
            parts: if all.is_empty() { Vec::new() } else { vec![all] },
            refused: Vec::new(),
        }
    }

    /// The part to try now; `None` when all have been.
    pub(crate) fn next(&self) -> Option<Range<usize>> {
        self.parts.last().cloned()
    }

    /// The part was taken.
    pub(crate) fn accepted(&mut self) {
        self.parts.pop();
    }

    /// The part was refused and has more than one row: its halves are tried, the first one next.
    pub(crate) fn split(&mut self) {
        if let Some(part) = self.parts.pop() {
            let middle = part.start + part.len() / 2;
            self.parts.push(middle..part.end);
            self.parts.push(part.start..middle);
        }
    }

    /// The part was one row, and is refused for this.
    pub(crate) fn refused(&mut self, reason: Reason) {
        if let Some(part) = self.parts.pop() {
            self.refused.push((part.start, reason));
        }
    }

    /// The refused rows, by index.
    pub(crate) fn into_refused(self) -> Vec<(usize, Reason)> {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::poison::{Class, Code};
    use proptest::prelude::*;

    fn reason() -> Reason {
        Reason {
            class: Class::Permanent,
            code: Code::StoreRefused,
            text: String::new(),
        }
    }

    proptest! {
        #[test]
        fn it_finds_exactly_the_refused_and_accepts_every_other_once(rows in 0usize..200, bad: BTreeSet<u8>) {
            let bad: BTreeSet<usize> = bad.into_iter().map(usize::from).filter(|&at| at < rows).collect();
            let mut bisection = Bisection::new(rows);
            let mut accepted = Vec::new();
            let mut tries = 0;
            while let Some(part) = bisection.next() {
                tries += 1;
                if !part.clone().any(|at| bad.contains(&at)) {
                    accepted.extend(part);
                    bisection.accepted();
                } else if part.len() == 1 {
                    bisection.refused(reason());
                } else {
                    bisection.split();
                }
            }
            let refused: Vec<usize> = bisection.into_refused().into_iter().map(|(at, _)| at).collect();
            prop_assert_eq!(&refused, &bad.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(accepted, (0..rows).filter(|at| !bad.contains(at)).collect::<Vec<_>>());
            prop_assert!(tries <= 1 + 2 * bad.len() * 9);
        }
    }
}
