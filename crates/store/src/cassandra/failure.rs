//! Failures of the driver and the cluster, as the store's callers tell them apart.
//!
//! In: the driver's errors. Out: a [`StoreError`]. Always: what meets every request alike (no quorum, no right,
//! no table) is systemic, so that no notification is given up for it.

use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, NewSessionError, PrepareError, RequestAttemptError,
};

use crate::StoreError;

/// What a statement's failure means. No statement of ours is refused for its values: sizes and characters were
/// checked at the edge, and batches are cut. So whatever fails, fails for all.
pub(super) fn store_error(error: &ExecutionError) -> StoreError {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, text)) => db_error(error, text),
        _ => unavailable(error),
    }
}

/// What a failed preparation means.
pub(super) fn not_prepared(error: &PrepareError) -> StoreError {
    match error {
        PrepareError::AllAttemptsFailed {
            first_attempt: RequestAttemptError::DbError(error, text),
            ..
        } => db_error(error, text),
        _ => unavailable(error),
    }
}

fn db_error(error: &DbError, text: &str) -> StoreError {
    match error {
        // Right now it may do nothing; granted the right, it goes on.
        DbError::Unauthorized => StoreError::Unavailable(format!("the user may not do this: {text}")),
        _ => StoreError::Unavailable(format!("{error}: {text}")),
    }
}

/// What it means that there is no session. Waiting helps, except against a wrong password or certificate.
pub(super) fn no_session(error: &NewSessionError) -> StoreError {
    match error {
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
            last_connection_error,
        })) => no_connection(last_connection_error),
        _ => unavailable(error),
    }
}

fn no_connection(error: &ConnectionError) -> StoreError {
    match error {
        ConnectionError::ConnectionSetupRequestError(setup) => match &setup.error {
            ConnectionSetupRequestErrorKind::MissingAuthentication => StoreError::Refused(
                "Cassandra asks for a user and a password, and none is configured".to_owned(),
            ),
            // A node that starts, or has lost its quorum, cannot look users up.
            ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, text)
                if !text.starts_with("Unable to perform") =>
            {
                StoreError::Refused(format!("Cassandra knows no such user with this password: {text}"))
            }
            _ => unavailable(error),
        },
        ConnectionError::IoError(io) if io.kind() == std::io::ErrorKind::InvalidData => {
            StoreError::Refused(format!(
                "no encrypted connection to Cassandra: {io}; look at the authorities and at the node's certificate"
            ))
        }
        _ => unavailable(error),
    }
}

/// May work when tried again. Some of the driver's texts have several lines; a log line has one.
pub(super) fn unavailable(error: &impl std::fmt::Display) -> StoreError {
    let text = error.to_string();
    let words: Vec<_> = text.split_whitespace().collect();
    StoreError::Unavailable(words.join(" "))
}

/// A row that nobody could have written.
pub(super) fn corrupt(table: &str, error: &impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("a row of {table} cannot be read: {error}"))
}

/// What cannot be written down. Nothing that we keep is of that kind.
pub(super) fn not_json(error: &serde_json::Error) -> StoreError {
    StoreError::Refused(error.to_string())
}
