//! Persisting: a batch into the store, before anything of it is pushed.
//!
//! In: a batch on its way. Out: the same batch, stored, less what the store refuses alone.
//! Always: one round trip for a batch; only a refused batch is taken apart, to find the one.

mod bisection;

use std::{future::Future, pin::Pin, sync::Arc};

use carillon_store::{NotificationStore, StoreError};
use tokio::time::Instant;

use crate::{
    hold::{Holds, Site},
    metrics::{Meters, Write},
    verdict::{Outcome, Reason, Verdict, verdict},
    work::{End, Work},
};
use bisection::Bisection;

/// What a store's write gives back.
type Written<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;

/// The room.
pub(crate) struct Persist {
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) meters: Meters,
}

impl Persist {
    /// Stores a batch; waits for the store as long as it takes.
    pub(crate) async fn persist(&self, work: &mut Work) {
        if work.news.is_empty() {
            return;
        }
        let began = Instant::now();
        let write = |rows| self.store.persist(rows);
        let refused = write_all(&self.holds, Site::Persist, &work.news, write).await;
        self.meters.wrote(Write::Persist, began);
        let ends = refused.into_iter().map(|(at, reason)| (at, End::Dead(reason)));
        work.end(ends.collect(), false);
    }
}

/// Writes rows, all at once where the store lets us, and says which of them it refuses alone.
pub(crate) async fn write_all<'a, T, W>(
    holds: &Holds,
    site: Site,
    rows: &'a [T],
    write: W,
) -> Vec<(usize, Reason)>
where
    W: Fn(&'a [T]) -> Written<'a>,
{
    let mut attempts = holds.attempts(site);
    let mut bisection = Bisection::new(rows.len());
    while let Some(part) = bisection.next() {
        let alone = part.len() == 1;
        match write(&rows[part]).await {
            Ok(()) => bisection.accepted(),
            Err(StoreError::Refused(_)) if !alone => bisection.split(),
            Err(error) => match verdict(Outcome::Store(error)) {
                Verdict::Hold(dependency, reason) => attempts.wait(dependency, &reason).await,
                Verdict::DeadLetter(reason) => bisection.refused(reason),
                Verdict::Done | Verdict::Proceed => bisection.accepted(),
            },
        }
    }
    bisection.into_refused()
}
