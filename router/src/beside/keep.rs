//! Keeping: rows into the store from beside the pipeline.
//!
//! In: rows and a write. Out: the rows that the store refuses alone, with its words. Always: trouble of the store
//! is waited out in place; one refused row takes none of its neighbours with it.

use std::{future::Future, pin::Pin};

use carillon_store::StoreError;

use crate::hold::{Dependency, Holds, Site};

/// What a store's write gives back.
pub(crate) type Written<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;

/// Writes rows, `most` at once, for as long as it takes. It may be given up at any time and begun again.
pub(crate) async fn keep<'a, T, W>(
    holds: &Holds,
    site: Site,
    rows: &'a [T],
    most: usize,
    write: W,
) -> Vec<(&'a T, String)>
where
    W: Fn(&'a [T]) -> Written<'a>,
{
    let mut attempts = holds.attempts(site);
    let mut refused = Vec::new();
    let mut parts: Vec<&[T]> = rows.chunks(most.max(1)).rev().collect();
    while let Some(part) = parts.pop() {
        match write(part).await {
            Ok(()) => {}
            Err(StoreError::Refused(reason)) => match part {
                [] => {}
                [row] => refused.push((row, reason)),
                many => {
                    let (first, second) = many.split_at(many.len() / 2);
                    parts.extend([second, first]);
                }
            },
            Err(error) => {
                parts.push(part);
                attempts.wait(Dependency::Store, &error.to_string()).await;
            }
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use carillon_chassis::{metrics::Metrics, readiness::Readiness};
    use parking_lot::Mutex;
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::Held;

    fn holds() -> Holds {
        let readiness = Readiness::default();
        let conditions = Dependency::ALL.map(|d| readiness.condition(d.as_str()));
        let waits = crate::hold::Waits {
            first: Duration::from_millis(100),
            cap: Duration::from_secs(1),
            opens_at: 3,
        };
        Holds::new(conditions, waits, Held::new(&Metrics::new()), |_| {})
    }

    fn run<F: Future>(future: F) -> F::Output {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(future)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn only_what_is_refused_alone_is_left_out(n in 0usize..60, bad: BTreeSet<u8>, most in 1usize..20, away in 0usize..3) {
            let rows: Vec<usize> = (0..n).collect();
            let bad: BTreeSet<usize> = bad.into_iter().map(usize::from).filter(|at| *at < n).collect();
            let kept = Mutex::new(BTreeSet::new());
            let failures = Mutex::new(away);
            let holds = holds();
            let write = |part: &[usize]| -> Written<'_> {
                let answer = if *failures.lock() > 0 {
                    *failures.lock() -= 1;
                    Err(StoreError::Unavailable("away".to_owned()))
                } else if part.iter().any(|row| bad.contains(row)) {
                    Err(StoreError::Refused("no".to_owned()))
                } else {
                    kept.lock().extend(part.iter().copied());
                    Ok(())
                };
                Box::pin(std::future::ready(answer))
            };
            let refused = run(keep(&holds, Site::Receipts, &rows, most, write));
            let refused: BTreeSet<usize> = refused.into_iter().map(|(row, _)| *row).collect();
            prop_assert_eq!(&refused, &bad);
            prop_assert_eq!(kept.into_inner().len(), n - bad.len());
        }
    }
}
