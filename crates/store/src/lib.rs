//! What was accepted and what became of it.
//!
//! In: batches of facts (persisted, dispatched, dead) and claims of idempotency keys. Out: a notification
//! with its state and time line, a tenant's deliveries, a stream's last notifications.
//! Always: the order in which facts arrive, and how often, does not change what is read afterwards; nothing
//! of one tenant stands in an answer to another.

mod calls;
pub mod cassandra;
pub mod config;
#[doc(hidden)]
pub mod conformance;
pub mod cursor;
mod error;
mod kept;
mod model;
mod notification_store;
pub mod sqlite;
mod timeline;

pub use cassandra::{CassandraOptions, CassandraStore, CassandraTls};
pub use config::{StoreConfig, check, migrate, open};
pub use cursor::{PageCursor, PageKey};
pub use error::StoreError;
pub use model::{
    AuditQuery, AuditResult, Claim, ClaimOutcome, DeadLetter, DeadLetterMark, DeadLettersQuery,
    DeadLettersResult, DeliveriesQuery, DeliveriesResult, Dispatched, Due, Fact, Head, Known,
    NewNotification, RecentRow, Scheduled, StoredQuery, StoredResult, StoredRow,
};
pub use notification_store::NotificationStore;
pub use sqlite::{Fsync, SqliteOptions, SqliteStore};
