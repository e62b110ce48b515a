//! The file: how it is made, migrated and checked.
//!
//! In: a path. Out: a connection to a file that is ours, whole and of this version's schema.
//! Always: a file appears under its name only when it is complete, so an empty or foreign one there is
//! damage and is refused, never filled; a migration is one transaction and safe to race.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::failure::{corrupt, store_error};
use crate::{
    StoreError,
    config::{Checked, Migrated},
};

/// Migrations in order; the schema's version is how many were applied.
const MIGRATIONS: [&str; 2] = [
    include_str!("../../migrations/0001_notifications.sql"),
    include_str!("../../migrations/0002_life.sql"),
];

/// `Cari`: marks a SQLite file as ours.
const APPLICATION: i32 = 0x4361_7269;

/// The tables, for counting.
const TABLES: [&str; 9] = [
    "notifications",
    "delivery_log",
    "channel_recent",
    "idempotency",
    "collapse_latest",
    "scheduled",
    "dead_letters",
    "jobs",
    "audit",
];

/// How long a lock of another process is waited for while opening.
const OPENING: Duration = Duration::from_secs(10);

/// A connection for writing, to a file that is created or migrated where needed, and checked.
pub(super) fn open_file(path: &Path) -> Result<Connection, StoreError> {
    create_if_missing(path)?;
    let mut connection = connect(path)?;
    migrate(path, &mut connection)?;
    check_schema(path, &connection)?;
    Ok(connection)
}

pub(crate) fn migrate_file(path: &Path) -> Result<Migrated, StoreError> {
    let created = create_if_missing(path)?;
    let mut connection = connect(path)?;
    let done = migrate(path, &mut connection)?;
    check_schema(path, &connection)?;
    Ok(Migrated {
        from: if created { 0 } else { done.from },
        to: done.to,
    })
}

pub(crate) fn check_file(path: &Path) -> Result<Checked, StoreError> {
    let connection = connect(path)?;
    let sql = |error| store_error(path, &error);
    let schema = version(&connection).map_err(sql)?;
    if schema != latest() {
        return Err(StoreError::Refused(format!(
            "{}: its schema is version {schema}, this program's is {}; run `carillon store migrate`",
            path.display(),
            latest()
        )));
    }
    check_schema(path, &connection)?;
    let faults = faults(&connection).map_err(sql)?;
    if faults != ["ok"] {
        return Err(corrupt(path, &faults.join("; ")));
    }
    let mut rows = Vec::new();
    for table in TABLES {
        let count = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get::<_, i64>(0)
        });
        rows.push((table, count.map_err(sql)?.unsigned_abs()));
    }
    let bytes = fs::metadata(path).ok().map(|file| file.len());
    Ok(Checked { schema, bytes, rows })
}

fn faults(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA quick_check(5)")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect()
}

fn latest() -> u32 {
    MIGRATIONS.len() as u32
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Opens a file that must exist and be ours.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    match fs::metadata(path) {
        Ok(file) if file.is_dir() => {
            return Err(StoreError::Refused(format!("{} is a directory", path.display())));
        }
        Ok(file) if file.len() == 0 => return Err(corrupt(path, "the file is empty")),
        Ok(_) => {}
        Err(error) => return Err(unavailable(path, &error)),
    }
    let sql = |error| store_error(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sql)?;
    connection.busy_timeout(OPENING).map_err(sql)?;
    let application: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(sql)?;
    if application != APPLICATION {
        return Err(corrupt(path, "the file belongs to another program"));
    }
    Ok(connection)
}

/// Applies what is missing, each step in a transaction that looks at the version inside.
fn migrate(path: &Path, connection: &mut Connection) -> Result<Migrated, StoreError> {
    let sql = |error| store_error(path, &error);
    let from = version(connection).map_err(sql)?;
    if from > latest() {
        return Err(StoreError::Refused(format!(
            "{}: it was written by a newer version (schema {from}, this program knows {}); nothing was changed",
            path.display(),
            latest()
        )));
    }
    while step(connection).map_err(sql)? {}
    Ok(Migrated { from, to: latest() })
}

fn step(connection: &mut Connection) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let at = version(&transaction)?;
    let Some(migration) = MIGRATIONS.get(at as usize) else {
        return Ok(false);
    };
    transaction.execute_batch(migration)?;
    transaction.pragma_update(None, "user_version", at + 1)?;
    transaction.commit()?;
    Ok(true)
}

/// Compares every table and index with what the migrations make.
fn check_schema(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let sql = |error| store_error(path, &error);
    let found = objects(connection).map_err(sql)?;
    for (name, definition) in expected().map_err(sql)? {
        match found.get(&name) {
            None => return Err(corrupt(path, &format!("it has no {name}"))),
            Some(found) if *found != definition => {
                return Err(corrupt(path, &format!("its {name} is not this version's")));
            }
            Some(_) => {}
        }
    }
    for table in TABLES {
        connection
            .query_row(
                &format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1)"),
                [],
                |_| Ok(()),
            )
            .map_err(sql)?;
    }
    Ok(())
}

fn expected() -> rusqlite::Result<BTreeMap<String, String>> {
    let memory = Connection::open_in_memory()?;
    for migration in MIGRATIONS {
        memory.execute_batch(migration)?;
    }
    objects(&memory)
}

fn objects(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement =
        connection.prepare("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Makes the file under another name and links it to its own when it is whole. Says whether it was made.
fn create_if_missing(path: &Path) -> Result<bool, StoreError> {
    if path.exists() {
        return Ok(false);
    }
    let log = beside(path, "-wal");
    if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        return Err(corrupt(path, "the file is missing, while its log is there"));
    }
    let fresh = unused_name(path).map_err(|error| unavailable(path, &error))?;
    let made = fill(&fresh).map_err(|error| store_error(&fresh, &error));
    let linked = made.and_then(|()| publish(&fresh, path).map_err(|error| unavailable(path, &error)));
    let _ = fs::remove_file(&fresh);
    linked.map(|()| true)
}

fn unused_name(path: &Path) -> io::Result<PathBuf> {
    let mut n = 0u32;
    loop {
        let name = beside(path, &format!(".new-{}-{n}", std::process::id()));
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&name)
        {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && n < 1_000 => n += 1,
            Err(error) => return Err(error),
            Ok(_) => return Ok(name),
        }
    }
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    while step(&mut connection)? {}
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)
}

/// Another process may have been first: then its file stands.
fn publish(fresh: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(fresh, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        // A file system without hard links.
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            fs::rename(fresh, path)?;
        }
        other => other?,
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// The name of a file that goes with this one.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    let text = format!("{}: {error}", path.display());
    if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        return StoreError::Full(text);
    }
    StoreError::Unavailable(text)
}
