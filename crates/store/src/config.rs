//! Which store, by URL, and how long it keeps things.
//!
//! In: `sqlite:PATH` and limits. Out: an open store, a migrated one, or a report on one.
//! Always: a URL that we cannot serve is refused with the ones that we can.

use std::{path::Path, sync::Arc, time::Duration};

use carillon_chassis::{clock::Clock, metrics::Metrics};

use crate::{
    NotificationStore, StoreError,
    sqlite::{Fsync, SqliteOptions, SqliteStore, schema},
};

/// How a store is opened, whichever it is.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// How long notifications and their time lines are kept.
    pub retention: Duration,
    /// When a write counts as done (SQLite; Cassandra has its own rule).
    pub fsync: Fsync,
    /// How long a call may take before it is `Unavailable`.
    pub deadline: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        let sqlite = SqliteOptions::default();
        Self {
            retention: sqlite.retention,
            fsync: sqlite.fsync,
            deadline: sqlite.deadline,
        }
    }
}

/// Opens the store of a URL, and creates or migrates it where that is this store's custom (SQLite). Blocks
/// for some milliseconds: call it before serving.
///
/// # Errors
/// `Refused` for a URL that is not ours, `Corrupt` for a damaged file, else what the database says.
pub fn open(
    url: &str,
    config: &StoreConfig,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<Arc<dyn NotificationStore>, StoreError> {
    let options = SqliteOptions {
        retention: config.retention,
        fsync: config.fsync,
        deadline: config.deadline,
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(sqlite_path(url)?, options, clock.clone(), metrics)?;
    Ok(Arc::new(store))
}

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The schema's version before; 0 when there was none.
    pub from: u32,
    /// The schema's version now.
    pub to: u32,
}

/// Brings the schema of a store up to date, creating it where there is none. Safe to repeat, and to run in
/// several processes at once. Blocks.
///
/// # Errors
/// As [`open`].
pub fn migrate(url: &str) -> Result<Migrated, StoreError> {
    schema::migrate_file(sqlite_path(url)?)
}

/// What a check found in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The schema's version.
    pub schema: u32,
    /// Size of the database in bytes, without what its log holds.
    pub bytes: u64,
    /// Rows per table.
    pub rows: Vec<(&'static str, u64)>,
}

/// Reads a whole store and says whether it is sound: structure, schema, and counts of rows. Changes nothing.
/// Blocks for as long as reading the file takes.
///
/// # Errors
/// As [`open`]; `Corrupt` names the first faults.
pub fn check(url: &str) -> Result<Checked, StoreError> {
    schema::check_file(sqlite_path(url)?)
}

/// The path behind a `sqlite:` URL.
fn sqlite_path(url: &str) -> Result<&Path, StoreError> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Path::new(path.strip_prefix("//").unwrap_or(path))),
        Some(("cassandra" | "scylla", _)) => Err(StoreError::Refused(
            "this build has no Cassandra store yet; use sqlite:PATH".to_owned(),
        )),
        _ => Err(StoreError::Refused(
            "a store URL is written sqlite:PATH, for example sqlite:carillon-data/carillon.db".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_url_is_a_path_with_or_without_slashes() {
        for (url, path) in [
            ("sqlite:a/b.db", "a/b.db"),
            ("sqlite:///a/b.db", "/a/b.db"),
            ("sqlite:/a", "/a"),
        ] {
            assert_eq!(sqlite_path(url).unwrap(), Path::new(path));
        }
    }

    #[test]
    fn another_url_is_refused_with_one_that_works() {
        for url in ["", "sqlite:", "a.db", "postgres://x", "cassandra://h/k"] {
            let error = sqlite_path(url).unwrap_err();
            assert!(
                !error.is_systemic() && error.to_string().contains("sqlite:"),
                "{error}"
            );
        }
    }
}
