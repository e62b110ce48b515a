//! A store in a directory of its own, under a manual clock.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_chassis::{clock::Clock, metrics::Metrics};
use carillon_store::{
    SqliteOptions, SqliteStore, StoreConfig, StoreError, check,
    config::{Checked, Migrated},
    conformance::{Subject, facts::EPOCH_MS},
    migrate,
};
use tempfile::TempDir;

pub(crate) struct House {
    pub(crate) directory: TempDir,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
}

impl House {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            clock: Clock::manual(EPOCH_MS),
            metrics: Metrics::new(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("carillon.db")
    }

    pub(crate) fn open(&self, options: SqliteOptions) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(self.path(), options, self.clock.clone(), &self.metrics)
    }

    pub(crate) async fn migrate(&self) -> Result<Migrated, StoreError> {
        migrate(&self.url(), &StoreConfig::default()).await
    }

    pub(crate) async fn check(&self) -> Result<Checked, StoreError> {
        check(&self.url(), &StoreConfig::default()).await
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.path().display())
    }
}

/// A subject for the conformance suite, and its directory.
pub(crate) async fn subject(options: SqliteOptions) -> (Subject, House) {
    let house = House::new();
    let retention = options.retention;
    let subject = Subject {
        store: Arc::new(house.open(options.clone()).unwrap()),
        other: Arc::new(house.open(options).unwrap()),
        clock: house.clock.clone(),
        retention,
        run: 1,
    };
    (subject, house)
}

/// Waits until something holds, looking again every few milliseconds, and says what was seen last.
pub(crate) async fn eventually<T: std::fmt::Debug>(
    mut look: impl FnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = look();
        if holds(&seen) {
            return seen;
        }
        assert!(Instant::now() < until, "it never held; last seen: {seen:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every file of a directory with its bytes.
pub(crate) fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}
