//! Outages: told once when one begins and once when it is over.
//!
//! In: how calls ended. Out: two log lines. Always: an outage is over when a call has worked and none has failed
//! for a while, so that a cluster that half works does not fill the log.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{info, warn};

use crate::StoreError;

/// How long no call may have failed before an outage counts as over.
const CALM: Duration = Duration::from_secs(1);

/// Whether the store works, as its callers see it.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Option<Span>>);

#[derive(Debug)]
struct Span {
    since: Instant,
    last: Instant,
    failures: u64,
}

impl Outage {
    /// A call ended.
    pub(super) fn saw<T>(&self, answer: &Result<T, StoreError>) {
        self.saw_at(answer, Instant::now());
    }

    fn saw_at<T>(&self, answer: &Result<T, StoreError>, now: Instant) {
        let mut span = self.0.lock();
        match (answer, span.as_mut()) {
            (Err(StoreError::Closed | StoreError::Refused(_)), _) | (Ok(_), None) => {}
            (Err(error), None) => {
                warn!(error = %error, "the store does not answer as it should");
                *span = Some(Span {
                    since: now,
                    last: now,
                    failures: 1,
                });
            }
            (Err(_), Some(span)) => {
                span.last = now;
                span.failures += 1;
            }
            (Ok(_), Some(over)) => {
                if now.duration_since(over.last) >= CALM {
                    let outage_ms = u64::try_from(now.duration_since(over.since).as_millis());
                    info!(
                        outage_ms = outage_ms.unwrap_or(u64::MAX),
                        failures = over.failures,
                        "the store answers again"
                    );
                    *span = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_once_and_ends_when_it_is_calm() {
        let outage = Outage::default();
        let begin = Instant::now();
        let bad: Result<(), _> = Err(StoreError::Unavailable("no".to_owned()));
        let on = |outage: &Outage| outage.0.lock().is_some();
        outage.saw_at(&Ok(()), begin);
        assert!(!on(&outage));
        outage.saw_at(&bad, begin);
        outage.saw_at(&Ok(()), begin + CALM / 2);
        outage.saw_at(&bad, begin + CALM / 2);
        outage.saw_at(&Ok(()), begin + CALM);
        assert!(on(&outage), "half a second without a failure is not calm");
        outage.saw_at(&Ok(()), begin + CALM * 2);
        assert!(!on(&outage));
    }

    #[test]
    fn a_closed_store_and_a_refused_batch_are_no_outage() {
        let outage = Outage::default();
        outage.saw(&Err::<(), _>(StoreError::Closed));
        outage.saw(&Err::<(), _>(StoreError::Refused("no".to_owned())));
        assert!(outage.0.lock().is_none());
    }
}
