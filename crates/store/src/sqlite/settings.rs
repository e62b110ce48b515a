//! Connections and their settings.
//!
//! In: the path and the options. Out: a connection for the writer, the keeper or a reader.
//! Always: the log is a write-ahead log, checkpoints are the keeper's, and only the writer may write.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use super::{Fsync, SqliteOptions, failure::store_error, schema};
use crate::StoreError;

/// Page cache of the writer: the upper levels of every tree, and the pages of some groups.
const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// Page cache of one reader.
const READER_CACHE_KIB: i64 = 2 * 1024;

/// The log's file is cut back to this size when it begins anew.
const LOG_BYTES: i64 = 64 << 20;

/// The writer's connection, to a file that is created or migrated where needed.
pub(super) fn open_writer(path: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let connection = schema::open_file(path)?;
    set_up_writer(&connection, options).map_err(|error| store_error(path, &error))?;
    Ok(connection)
}

/// The keeper's connection.
pub(super) fn open_keeper(path: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        set_up_writer(&connection, options)?;
        Ok(connection)
    };
    open().map_err(|error| store_error(path, &error))
}

fn set_up_writer(connection: &Connection, options: &SqliteOptions) -> rusqlite::Result<()> {
    let synchronous = match options.fsync {
        Fsync::Full => "FULL",
        Fsync::Interval(_) => "NORMAL",
    };
    connection.busy_timeout(lock_wait(options))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    if let Some(bytes) = options.max_bytes {
        let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = i64::try_from(bytes / page.max(1).unsigned_abs()).unwrap_or(i64::MAX);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    Ok(())
}

/// A reader's connection.
pub(super) fn open_reader(path: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(lock_wait(options))?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        Ok(connection)
    };
    open().map_err(|error| store_error(path, &error))
}

/// How long a lock of another process is waited for: so that the caller still hears of it by its deadline.
fn lock_wait(options: &SqliteOptions) -> Duration {
    options.deadline / 2
}
