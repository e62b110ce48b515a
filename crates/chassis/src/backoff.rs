//! Backoff with full jitter.
//!
//! In: the first and the longest wait. Out: how long to wait now.
//! Always: uniformly random between zero and a bound that doubles up to the cap, so that those who failed
//! together do not come back together.

use std::time::Duration;

/// A growing, random wait.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    bound: Duration,
}

impl Backoff {
    /// The first bound and the greatest.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            bound: first,
        }
    }

    /// A wait between zero and the bound, which doubles.
    #[allow(
        clippy::should_implement_trait,
        reason = "it never ends, so it is no iterator"
    )]
    pub fn next(&mut self) -> Duration {
        let bound = self.bound;
        self.bound = (bound * 2).min(self.cap);
        bound.mul_f64(rand::random::<f64>())
    }

    /// Begins again at the first bound, after a success.
    pub fn reset(&mut self) {
        self.bound = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_a_bound_that_doubles_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        for bound in [100, 200, 350, 350] {
            assert!(backoff.next() <= Duration::from_millis(bound));
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }
}
