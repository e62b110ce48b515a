//! Which store, by URL, and how long it keeps things.
//!
//! In: `sqlite:PATH` or `cassandra://…/keyspace`, and limits. Out: an open store, a migrated one, or a report on one.
//! Always: a URL that we cannot serve is refused with the ones that we can.

use std::{path::PathBuf, sync::Arc, time::Duration};

use carillon_chassis::{clock::Clock, metrics::Metrics};

use crate::{
    NotificationStore, StoreError,
    cassandra::{self, Address, CassandraOptions, CassandraStore},
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
    /// What only a store on Cassandra or ScyllaDB asks for.
    pub cassandra: CassandraOptions,
}

impl Default for StoreConfig {
    fn default() -> Self {
        let sqlite = SqliteOptions::default();
        Self {
            retention: sqlite.retention,
            fsync: sqlite.fsync,
            deadline: sqlite.deadline,
            cassandra: CassandraOptions::default(),
        }
    }
}

/// Opens the store of a URL, and creates or migrates it where that is this store's custom (SQLite). Takes
/// some milliseconds, for a cluster up to the deadline.
///
/// # Errors
/// `Refused` for what will never work: a URL that is not ours, a wrong password, a newer schema.
/// `NotMigrated` for a schema that is missing or older, `Corrupt` for a damaged file or a table that is not
/// this version's. `Unavailable` when no node answers: try again.
pub async fn open(
    url: &str,
    config: &StoreConfig,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<Arc<dyn NotificationStore>, StoreError> {
    match Place::of(url)? {
        Place::Sqlite(path) => {
            let options = SqliteOptions {
                retention: config.retention,
                fsync: config.fsync,
                deadline: config.deadline,
                ..SqliteOptions::default()
            };
            let (clock, metrics) = (clock.clone(), metrics.clone());
            let store = blocking(move || SqliteStore::open(path, options, clock, &metrics)).await?;
            Ok(Arc::new(store))
        }
        Place::Cassandra(address) => {
            let store = CassandraStore::open(&address, config, clock, metrics).await?;
            Ok(Arc::new(store))
        }
    }
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
/// several processes at once.
///
/// # Errors
/// As [`open`].
pub async fn migrate(url: &str, config: &StoreConfig) -> Result<Migrated, StoreError> {
    match Place::of(url)? {
        Place::Sqlite(path) => blocking(move || schema::migrate_file(&path)).await,
        Place::Cassandra(address) => cassandra::migrate(&address, config).await,
    }
}

/// What a check found in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The schema's version.
    pub schema: u32,
    /// Size of the database in bytes, without what its log holds; `None` where the cluster's own tools know it.
    pub bytes: Option<u64>,
    /// Rows per table; empty where counting would mean reading everything.
    pub rows: Vec<(&'static str, u64)>,
}

/// Looks whether a store is sound. Changes nothing. Of SQLite it reads the whole file: structure, schema, and
/// counts of rows; of a cluster the schema, and one row of each table.
///
/// # Errors
/// As [`open`]; `Corrupt` names the first faults.
pub async fn check(url: &str, config: &StoreConfig) -> Result<Checked, StoreError> {
    match Place::of(url)? {
        Place::Sqlite(path) => blocking(move || schema::check_file(&path)).await,
        Place::Cassandra(address) => cassandra::check(&address, config).await,
    }
}

/// SQLite's work is of the kind that blocks a thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(StoreError::Unavailable(error.to_string())),
    }
}

/// Where a store is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Sqlite(PathBuf),
    Cassandra(Address),
}

impl Place {
    fn of(url: &str) -> Result<Self, StoreError> {
        match url.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => {
                Ok(Self::Sqlite(path.strip_prefix("//").unwrap_or(path).into()))
            }
            Some(("cassandra" | "scylla", rest)) => Address::parse(rest).map(Self::Cassandra),
            _ => Err(StoreError::Refused(
                "a store URL is written sqlite:PATH, for example sqlite:carillon-data/carillon.db, or \
                 cassandra://host:9042,host2:9042/keyspace"
                    .to_owned(),
            )),
        }
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
            assert_eq!(Place::of(url).unwrap(), Place::Sqlite(path.into()));
        }
    }

    #[test]
    fn a_cluster_has_two_names() {
        assert_eq!(
            Place::of("cassandra://h/k").unwrap(),
            Place::of("scylla://h/k").unwrap()
        );
    }

    #[test]
    fn another_url_is_refused_with_ones_that_work() {
        for url in ["", "sqlite:", "a.db", "postgres://x"] {
            let error = Place::of(url).unwrap_err();
            assert!(!error.is_systemic(), "{error}");
            let text = error.to_string();
            assert!(text.contains("sqlite:") && text.contains("cassandra:"), "{text}");
        }
    }
}
