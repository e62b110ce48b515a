//! What can go wrong for a client.
//!
//! In: failures of the network, answers of the server. Out: one of a closed list.
//! Always: a refusal of the server keeps its code; no text here has a token in it.

use std::time::Duration;

use carillon_schemas::{frame::ErrorCode, problem::Problem};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's address cannot be used.
    #[error("{url} {reason}")]
    Address {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The token cannot stand in a header.
    #[error("the token has characters that cannot stand in a header")]
    Token,
    /// Nobody answers there.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// Which server.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// No answer in time; what was asked may have happened.
    #[error("{url} did not answer within {} s", deadline.as_secs())]
    Timeout {
        /// Which server.
        url: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// The server refused, and says why.
    #[error("{}", problem_text(.problem))]
    Problem {
        /// Its answer.
        problem: Box<Problem>,
        /// How long it asks to wait before the next attempt.
        retry_after: Option<Duration>,
    },
    /// An answer that is not of this protocol.
    #[error("unexpected answer {status}: {excerpt}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        excerpt: String,
    },
    /// The server closed the socket for good (4500–4999).
    #[error("closed by the server for good: {code} {reason}")]
    Closed {
        /// The close code.
        code: u16,
        /// Its reason.
        reason: String,
    },
    /// The server refused a subscription.
    #[error("refused by the server: {detail}")]
    Refused {
        /// Its code.
        code: ErrorCode,
        /// In words.
        detail: String,
    },
    /// More events came than can be kept while one waits for something else.
    #[error("too many events arrived before every channel was subscribed")]
    Flooded,
    /// What was to be sent cannot be written as JSON.
    #[error("cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl ClientError {
    /// The problem that the server answered with, if it did.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// Whether the same may work later without any change.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Problem { problem, .. } => matches!(problem.status, 408 | 429 | 500..),
            Self::Unexpected { status, .. } => matches!(status, 408 | 429 | 500..),
            _ => false,
        }
    }
}

fn problem_text(problem: &Problem) -> String {
    let mut text = format!("{} {}: {}", problem.status, problem.code.as_str(), problem.detail);
    for error in &problem.errors {
        text.push_str(&format!("; {} {}", error.path, error.message));
    }
    text
}

/// The first part of a body, fit for one line.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}
