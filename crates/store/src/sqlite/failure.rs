//! What a database error means for a caller.
//!
//! In: rusqlite's error. Out: one of the store's five. Always: damage names the file and what to do.

use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::StoreError;

/// `SQLITE_IOERR_SHMSIZE`: the index of the log could not grow, which is how a full disk shows there.
const NO_ROOM_FOR_LOG_INDEX: i32 = 10 | (19 << 8);

/// The store's error for a database's.
pub(super) fn store_error(path: &Path, error: &Error) -> StoreError {
    let Some(code) = error.sqlite_error_code() else {
        return without_code(path, error);
    };
    let text = format!("{}: {error}", path.display());
    match code {
        ErrorCode::DiskFull => StoreError::Full(text),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => corrupt(path, &error.to_string()),
        ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => {
            StoreError::Refused(text)
        }
        _ if error.sqlite_extended_error_code() == Some(NO_ROOM_FOR_LOG_INDEX) => StoreError::Full(text),
        _ => StoreError::Unavailable(text),
    }
}

fn without_code(path: &Path, error: &Error) -> StoreError {
    match error {
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::QueryReturnedNoRows => corrupt(path, &error.to_string()),
        Error::ToSqlConversionFailure(_) => StoreError::Refused(error.to_string()),
        _ => StoreError::Unavailable(format!("{}: {error}", path.display())),
    }
}

/// The error for a damaged file.
pub(super) fn corrupt(path: &Path, what: &str) -> StoreError {
    let path = path.display();
    StoreError::Corrupt(format!(
        "{path}: {what}. Nothing was changed. Restore the file from a backup, or move {path}, {path}-wal and \
         {path}-shm elsewhere to begin with an empty store"
    ))
}
