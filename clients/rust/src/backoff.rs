//! Backoff with full jitter: how long to wait before one comes back.
//!
//! In: how often it failed in a row. Out: a wait. Always: uniformly random below a bound that doubles up to
//! the cap, so that those who were cut off together do not come back together.

use std::time::Duration;

/// First bound of the wait before a reconnect.
pub(crate) const FIRST: Duration = Duration::from_millis(500);
/// Greatest bound of it.
pub(crate) const CAP: Duration = Duration::from_secs(30);

/// The bound after this many failures in a row, the first one being number 0.
pub(crate) fn bound(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.min(16)).min(CAP)
}

/// A random wait below the bound.
pub(crate) fn jittered(failures: u32) -> Duration {
    bound(failures).mul_f64(rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_from_half_a_second_to_thirty() {
        let bounds: Vec<_> = (0..8).map(|n| bound(n).as_millis()).collect();
        assert_eq!(bounds, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(bound(u32::MAX), CAP);
        assert!((0..100).all(|n| jittered(n) <= bound(n)));
    }
}
