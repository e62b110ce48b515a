//! What can go wrong in a store, as its callers must tell it apart.
//!
//! In: a failure of the database, the disk or a queue. Out: one of six cases.
//! Always: the text is for operators and logs, never for a client's answer.

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Busy, locked, slow, its queue full, or an I/O error: may work when tried again. Whether a write took
    /// effect is unknown; every write is safe to repeat.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// No room on the disk, or the configured size is reached: works again when there is room.
    #[error("the store is full: {0}")]
    Full(String),
    /// What is stored is damaged or is not ours. Names the file and what to do; nothing is reset.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// The schema is missing or older than this build needs. Migrating it helps, and may happen at any time.
    #[error("the store is not migrated: {0}: run `carillon store migrate`")]
    NotMigrated(String),
    /// This batch or this request will never work, however often it is tried.
    #[error("the store refuses this: {0}")]
    Refused(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the store itself is in trouble, so that every other request meets the same: pause and retry
    /// in place. `false` only for [`StoreError::Refused`].
    pub fn is_systemic(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    /// A word for a metric's label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Full(_) => "full",
            Self::Corrupt(_) => "corrupt",
            Self::NotMigrated(_) => "not_migrated",
            Self::Refused(_) => "refused",
            Self::Closed => "closed",
        }
    }
}
