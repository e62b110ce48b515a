//! The board: who holds for what.
//!
//! In: a room and what it waits for. Out: whether anything waits for a dependency, and whether a record is kept.
//! Always: pure; one entry per room.

/// What the router stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dependency {
    /// The store.
    Store,
    /// Kafka.
    Kafka,
}

impl Dependency {
    pub(crate) const ALL: [Self; 2] = [Self::Store, Self::Kafka];

    /// The name of its readiness condition, and the value of the metrics' label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Kafka => "kafka",
        }
    }
}

/// Who holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// Asking what is known of records.
    Questions,
    /// Writing notifications.
    Persist,
    /// Producing deliveries and checks.
    Dispatch,
    /// Writing what was dispatched and what became of the others.
    Settle,
    /// Producing retries.
    Retries,
    /// Producing to the overflow.
    Overflow,
    /// Looking through the overflow of partitions that were taken over.
    TakeOver,
    /// Producing dead letters.
    DeadLetters,
    /// The probe found the store away. Holds no record.
    StoreProbe,
    /// The probe found Kafka away. Holds no record.
    KafkaProbe,
    /// Noting receipts. From here on: rooms beside the pipeline, which do not pause it.
    Receipts,
    /// Keeping the audit trail.
    Audit,
    /// Carrying out commands. Several may hold at once; the last one to begin an attempt counts.
    Commands,
    /// Looking for what is due.
    Schedule,
}

impl Site {
    /// Whether it is a room of the pipeline: it keeps records, and what it sees counts for the breakers.
    pub(super) fn keeps_records(self) -> bool {
        (self as usize) < Self::StoreProbe as usize
    }
}

const SITES: usize = 14;

/// Who holds for what.
#[derive(Default)]
pub(super) struct Board {
    held: [Option<Dependency>; SITES],
}

impl Board {
    /// Gives what the site held for before.
    pub(super) fn set(&mut self, site: Site, dependency: Option<Dependency>) -> Option<Dependency> {
        std::mem::replace(&mut self.held[site as usize], dependency)
    }

    pub(super) fn holds(&self, dependency: Dependency) -> bool {
        self.held.contains(&Some(dependency))
    }

    pub(super) fn keeps_records(&self) -> bool {
        self.held[..Site::StoreProbe as usize].iter().any(Option::is_some)
    }
}
