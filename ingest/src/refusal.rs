//! Refusals: why a request is not served, whichever room says so.
//!
//! In: what a room found. Out: one closed list, which `http/problem` turns into answers.
//! Always: no status stands here; causes are for the log, never for the answer.

use std::fmt;

use carillon_auth::AuthError;
use carillon_schemas::{claims::Scope, notification::SubmissionError, problem::FieldError, status::Status};

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The body is not JSON.
    NotJson(String),
    /// Fields of the body break their rules.
    Fields(Vec<FieldError>),
    /// Headers, query parameters or path segments break their rules.
    Parameters(Vec<FieldError>),
    /// No credential, or one that cannot be trusted.
    Credential(AuthError),
    /// The principal has none of these scopes.
    Scope(&'static [Scope]),
    /// The body names another tenant than the token.
    TenantMismatch,
    /// The token does not reach this channel.
    Channel,
    /// There is no such thing for this principal.
    NotFound,
    /// There may be soon.
    NotYetVisible,
    /// The route has other methods.
    Method,
    /// The notification is in another state than scheduled, or due too soon.
    NotCancellable(Status),
    /// The body did not arrive in time.
    BodyLate,
    /// The body is larger than so many bytes.
    BodyTooLarge(usize),
    /// The body is of another type, or compressed; the text says what is expected.
    MediaType(&'static str),
    /// The idempotency key stands for another body.
    KeyReused,
    /// More work than is taken at once.
    Overloaded(Busy),
    /// A dependency does not do its part.
    Unavailable(Dependency, String),
    /// Kafka may or may not have the record.
    OutcomeUnknown(String),
    /// A bug of ours.
    Internal(String),
}

/// Which bound was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Submits at work in this process.
    Process,
    /// Submits at work of one tenant.
    Tenant,
    /// The Kafka client's own queue.
    Producer,
}

/// What ingest stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dependency {
    /// Takes the records.
    Kafka,
    /// Answers reads and keeps idempotency keys.
    Store,
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kafka => "Kafka",
            Self::Store => "the store",
        })
    }
}

impl From<SubmissionError> for Refusal {
    fn from(error: SubmissionError) -> Self {
        match error {
            SubmissionError::Json(why) => Self::NotJson(why),
            SubmissionError::Fields(errors) => Self::Fields(errors),
        }
    }
}

impl Refusal {
    /// One parameter that breaks its rule.
    pub(crate) fn parameter(name: &str, rule: impl Into<String>) -> Self {
        Self::Parameters(vec![FieldError::new(name, rule)])
    }

    /// What the log says beyond the answer.
    pub(crate) fn cause(&self) -> Option<&str> {
        match self {
            Self::Unavailable(_, cause) | Self::OutcomeUnknown(cause) | Self::Internal(cause) => Some(cause),
            _ => None,
        }
    }
}
