//! SQLite keeps every promise of the suite, with either setting of fsync.

use std::time::Duration;

use carillon_store::{Fsync, SqliteOptions, conformance::Subject};

use crate::support::{House, subject};

mod full_fsync {
    use super::*;

    async fn make() -> (Subject, House) {
        subject(SqliteOptions::default()).await
    }

    carillon_store::conformance!(make);
}

/// With the sweep at work all the time and a single reader.
mod interval_fsync_and_a_restless_sweep {
    use super::*;

    async fn make() -> (Subject, House) {
        subject(SqliteOptions {
            fsync: Fsync::Interval(Duration::from_millis(5)),
            sweep_every: Duration::from_millis(1),
            readers: 1,
            ..SqliteOptions::default()
        })
        .await
    }

    carillon_store::conformance!(make);
}
