//! Persisting: a batch into the store, before anything of it is pushed.
//!
//! In: a batch on its way. Out: the same batch, stored, less what the store does not take alone.
//! Always: one round trip for a batch; only a batch that fails is taken apart, to find the one. What fails alone
//! is told apart from a store that is away by writing again what it took before.

mod bisection;

use std::{future::Future, pin::Pin, sync::Arc};

use carillon_chassis::clock::Clock;
use carillon_store::{NewNotification, NotificationStore, Scheduled, StoreError};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    hold::{Attempts, Dependency, Holds, Site},
    metrics::{Meters, Write},
    verdict::{Outcome, verdict},
    work::{End, Work},
};
use bisection::Bisection;

/// How often a row must fail alone, while others are taken, before it is given up here.
const LONE_FAILURES: u32 = 3;

/// What a store's write gives back.
pub(crate) type Written<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;

/// The room.
pub(crate) struct Persist {
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) meters: Meters,
    pub(crate) clock: Clock,
    /// The last one that the store took.
    pub(crate) taken: Mutex<Option<NewNotification>>,
}

/// Why a row was not written while others were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unwritten {
    /// It never will be.
    Refused(String),
    /// It was not in time, repeatedly.
    Alone(String),
}

impl Persist {
    /// Stores a batch; waits for the store as long as it takes.
    pub(crate) async fn persist(&self, work: &mut Work) {
        if work.news.is_empty() || work.checks {
            return;
        }
        let began = Instant::now();
        let unwritten = self.write(&work.news).await;
        self.meters.wrote(Write::Persist, began);
        let now_ms = self.clock.unix_ms();
        let ends = unwritten.into_iter().filter_map(|(at, why)| {
            let outcome = match why {
                Unwritten::Refused(text) => Outcome::Store(StoreError::Refused(text)),
                Unwritten::Alone(text) => Outcome::Alone(text),
            };
            Some((at, End::of(verdict(outcome, &work.ways[at].travel, now_ms))?))
        });
        let mut ends: Vec<_> = ends.collect();
        ends.sort_by_key(|(at, _)| *at);
        work.end(ends);
    }

    async fn write(&self, rows: &[NewNotification]) -> Vec<(usize, Unwritten)> {
        let mut attempts = self.holds.attempts(Site::Persist);
        let mut bisection = Bisection::new(rows.len());
        let mut alone = 0;
        while let Some(part) = bisection.next() {
            match self.store.persist(&rows[part.clone()]).await {
                Ok(()) => {
                    attempts.succeeded(Dependency::Store);
                    *self.taken.lock() = Some(rows[part.start].clone());
                    bisection.accepted();
                    alone = 0;
                }
                Err(StoreError::Refused(text)) => bisection.refused(Unwritten::Refused(text)),
                Err(error @ StoreError::Unavailable(_))
                    if self.takes_others(&rows[part.start], &mut attempts).await =>
                {
                    alone += u32::from(part.len() == 1);
                    if part.len() == 1 && alone < LONE_FAILURES {
                        attempts.breathe().await;
                        continue;
                    }
                    bisection.refused(Unwritten::Alone(error.to_string()));
                    alone = 0;
                }
                Err(error) => attempts.wait(Dependency::Store, &error.to_string()).await,
            }
        }
        bisection.into_ended()
    }

    /// Whether the store takes what it took before: then it is not away. Before it took anything, a write that
    /// changes nothing is what to compare with: the row alone would wait for company that waits behind it.
    async fn takes_others(&self, row: &NewNotification, attempts: &mut Attempts<'_>) -> bool {
        let known = self.taken.lock().clone();
        let takes = match known {
            Some(known) => self.store.persist(&[known]).await.is_ok(),
            None => self.store.unschedule(&[nowhere(row)]).await.is_ok(),
        };
        if takes {
            attempts.succeeded(Dependency::Store);
        }
        takes
    }
}

/// A place in the schedule that no notification has: no partition has this number.
fn nowhere(row: &NewNotification) -> Scheduled {
    Scheduled {
        partition: -1,
        due_at_ms: 0,
        tenant: row.envelope.tenant_id.clone(),
        id: row.envelope.notification_id,
    }
}

/// Writes rows that must be written, all at once where the store lets us, and says which of them it refuses alone.
pub(crate) async fn write_all<'a, T, W>(
    holds: &Holds,
    site: Site,
    rows: &'a [T],
    write: W,
) -> Vec<(usize, Unwritten)>
where
    W: Fn(&'a [T]) -> Written<'a>,
{
    let mut attempts = holds.attempts(site);
    let mut bisection = Bisection::new(rows.len());
    while let Some(part) = bisection.next() {
        match write(&rows[part]).await {
            Ok(()) => {
                attempts.succeeded(Dependency::Store);
                bisection.accepted();
            }
            Err(StoreError::Refused(text)) => bisection.refused(Unwritten::Refused(text)),
            Err(error) => attempts.wait(Dependency::Store, &error.to_string()).await,
        }
    }
    bisection.into_ended()
}
