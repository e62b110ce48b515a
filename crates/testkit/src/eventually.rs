//! Waiting for a condition instead of sleeping.
//!
//! In: a question that may be asked again and again. Out: its answer.
//! Always: a wait that fails says what was seen last.

use std::{fmt::Debug, future::Future, time::Duration};

use tokio::time::Instant;

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long between two questions.
const PACE: Duration = Duration::from_millis(10);

/// Asks until the answer satisfies `holds`.
///
/// # Panics
/// After [`PATIENCE`], with the last answer.
pub async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F, holds: impl Fn(&T) -> bool) -> T
where
    T: Debug,
    F: Future<Output = T>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if holds(&answer) {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: not within {PATIENCE:?}, last seen: {answer:?}"
        );
        tokio::time::sleep(PACE).await;
    }
}
