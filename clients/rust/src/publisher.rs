//! The publisher: notifications out, acceptances back.
//!
//! In: a submission and perhaps an idempotency key. Out: the acceptance, or why there is none.
//! Always: what may have been accepted is repeated only under an idempotency key, so that no repeat makes a
//! second notification; a wait that the server asks for is kept.

use std::time::Duration;

use carillon_schemas::{IdempotencyKey, http::Accepted, notification::Submission, problem::ProblemCode};
use tokio::time::{Instant, sleep};

use crate::{ClientError, Connection, backoff, http::Http};

/// The header of the idempotency key.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Whether and for how long a refused publish is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, at least one.
    pub attempts: u32,
    /// No attempt is begun later than this after the first.
    pub within: Duration,
}

impl Retry {
    /// One attempt.
    pub const NEVER: Self = Self {
        attempts: 1,
        within: Duration::ZERO,
    };
    /// Ten attempts within a minute.
    pub const PATIENT: Self = Self {
        attempts: 10,
        within: Duration::from_secs(60),
    };
}

/// Publishes to one server.
#[derive(Debug, Clone)]
pub struct Publisher {
    http: Http,
    retry: Retry,
}

impl Publisher {
    /// A publisher that tries once.
    ///
    /// # Errors
    /// [`ClientError::Token`].
    pub fn new(server: &Connection) -> Result<Self, ClientError> {
        Ok(Self {
            http: Http::new(server)?,
            retry: Retry::NEVER,
        })
    }

    /// The same, trying again what was refused for now: 429 and 503 after their `Retry-After`, and with an
    /// idempotency key also what has an unknown outcome.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Publishes. `Ok` means 202: Kafka has it on all in-sync replicas.
    ///
    /// # Errors
    /// [`ClientError::Problem`] when the server refuses, [`ClientError::Unreachable`] and
    /// [`ClientError::Timeout`] when the outcome is not known.
    pub async fn publish(
        &self,
        submission: &Submission,
        key: Option<&IdempotencyKey>,
    ) -> Result<Accepted, ClientError> {
        let body = serde_json::to_vec(submission)?;
        let begun = Instant::now();
        let mut attempt = 1;
        loop {
            let error = match self.once(body.clone(), key).await {
                Ok(accepted) => return Ok(accepted),
                Err(error) => error,
            };
            let wait = asked_wait(&error).unwrap_or_else(|| backoff::jittered(attempt - 1));
            let late = begun.elapsed() + wait > self.retry.within;
            if attempt >= self.retry.attempts || late || !repeatable(&error, key.is_some()) {
                return Err(error);
            }
            sleep(wait).await;
            attempt += 1;
        }
    }

    async fn once(&self, body: Vec<u8>, key: Option<&IdempotencyKey>) -> Result<Accepted, ClientError> {
        let mut request = self.http.post(&["v1", "notifications"]);
        request = request.header("Content-Type", "application/json").body(body);
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key.as_str());
        }
        self.http.exchange(request).await?.value()
    }
}

fn asked_wait(error: &ClientError) -> Option<Duration> {
    match error {
        ClientError::Problem { retry_after, .. } => *retry_after,
        _ => None,
    }
}

/// Whether a repeat can neither be in vain nor make a second notification.
fn repeatable(error: &ClientError, keyed: bool) -> bool {
    match error.problem().map(|problem| problem.code) {
        Some(ProblemCode::RateLimited | ProblemCode::Overloaded | ProblemCode::Unavailable) => true,
        _ => keyed && error.is_temporary(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carillon_schemas::problem::Problem;

    fn problem(code: ProblemCode) -> ClientError {
        ClientError::Problem {
            problem: Box::new(Problem::new(code, "x")),
            retry_after: None,
        }
    }

    #[test]
    fn only_a_key_makes_an_unknown_outcome_repeatable() {
        let timeout = ClientError::Timeout {
            url: String::new(),
            deadline: Duration::ZERO,
        };
        for unknown in [
            problem(ProblemCode::OutcomeUnknown),
            problem(ProblemCode::Internal),
            timeout,
        ] {
            assert!(
                repeatable(&unknown, true) && !repeatable(&unknown, false),
                "{unknown}"
            );
        }
        for refused in [
            ProblemCode::RateLimited,
            ProblemCode::Overloaded,
            ProblemCode::Unavailable,
        ] {
            assert!(repeatable(&problem(refused), false));
        }
        for never in [
            ProblemCode::InvalidField,
            ProblemCode::TokenInvalid,
            ProblemCode::IdempotencyKeyReused,
        ] {
            assert!(!repeatable(&problem(never), true));
        }
    }
}
