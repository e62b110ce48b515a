//! The pace of inbound frames.
//!
//! In: the moment of a frame. Out: whether it is within the pace.
//! Always: a burst passes, a steady flood does not.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket of permits that fills at a steady rate.
#[derive(Debug)]
pub(crate) struct Pace {
    every: Duration,
    burst: u32,
    /// When the bucket will be full.
    full_at: Instant,
}

impl Pace {
    /// So many a second on average, and so many at once.
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self {
            every: Duration::from_secs(1) / per_second.max(1),
            burst,
            full_at: now,
        }
    }

    /// Takes a permit; false when there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.every;
        if full_at.duration_since(now) > self.every * self.burst {
            return false;
        }
        self.full_at = full_at;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(10, 3, start);
        assert!((0..3).all(|_| pace.take(start)));
        assert!(!pace.take(start + Duration::from_millis(99)));
        assert!(pace.take(start + Duration::from_millis(100)));
        assert!(!pace.take(start + Duration::from_millis(100)));
        let later = start + Duration::from_secs(9);
        assert_eq!((0..10).filter(|_| pace.take(later)).count(), 3);
    }
}
