//! Waiting for the servers that a role stands on: its store, Kafka, its topics.
//!
//! In: where they are. Out: an open store, and topics that are there; meanwhile conditions that say what is
//! missing and who can help. Always: what may come by itself is waited for, with backoff and without end;
//! what can never work ends the process.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use carillon_bus::{Admin, BusConfig, BusError};
use carillon_chassis::{backoff::Backoff, readiness::Condition};
use carillon_store::{NotificationStore, StoreConfig, StoreError};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::Process;

/// Bounds of the pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long one attempt to open a store may take; a store that has not answered by then is asked anew.
const ATTEMPT: Duration = Duration::from_secs(15);

/// The conditions of a role before it is made. Afterwards the role has its own.
pub(crate) struct Waiting {
    store: Condition,
    kafka: Condition,
    topics: Condition,
}

/// What came.
pub(crate) struct Standing {
    pub(crate) store: Arc<dyn NotificationStore>,
    /// Partitions of each topic that was waited for.
    pub(crate) partitions: Vec<usize>,
}

impl Waiting {
    pub(crate) fn new(process: &Process) -> Self {
        let condition = |name| process.readiness.condition(name);
        Self {
            store: condition("store"),
            kafka: condition("kafka"),
            topics: condition("topics"),
        }
    }

    /// Waits until all are there; `None` when the process is told to stop first.
    ///
    /// # Errors
    /// What no waiting helps against: a store that refuses the URL, the user or the schema, a damaged file.
    pub(crate) async fn wait(
        self,
        (url, config): (&str, &StoreConfig),
        (bus, topics): (&BusConfig, &[&String]),
        process: &Process,
    ) -> Result<Option<Standing>> {
        // An attempt may take seconds: until it ends, what is looked for is what one wants to know.
        self.store.unmet("looking for the store");
        self.kafka
            .unmet(format!("looking for a broker at {}", bus.bootstrap));
        self.topics.unmet("not known before a broker answers");
        let both = async {
            tokio::try_join!(
                self.store(url, config, process),
                self.topics(bus, topics, process)
            )
        };
        tokio::select! {
            both = both => both.map(|(store, partitions)| Some(Standing { store, partitions })),
            () = process.stopping() => Ok(None),
        }
    }

    async fn store(
        &self,
        url: &str,
        config: &StoreConfig,
        process: &Process,
    ) -> Result<Arc<dyn NotificationStore>> {
        let open = || async {
            let open = carillon_store::open(url, config, &process.clock, &process.metrics);
            match timeout(ATTEMPT, open).await {
                Ok(Ok(store)) => Ok(store),
                Ok(Err(error @ (StoreError::Unavailable(_) | StoreError::NotMigrated(_)))) => {
                    Err(Trouble::Wait(&self.store, error.to_string()))
                }
                Ok(Err(error)) => Err(Trouble::End(
                    anyhow::Error::from(error).context("the store cannot be used"),
                )),
                Err(_) => {
                    let late = format!("the store did not answer within {} s", ATTEMPT.as_secs());
                    Err(Trouble::Wait(&self.store, late))
                }
            }
        };
        let store = until("store", open).await?;
        self.store.met();
        Ok(store)
    }

    async fn topics(&self, bus: &BusConfig, topics: &[&String], process: &Process) -> Result<Vec<usize>> {
        let admin = Admin::new(bus, &process.metrics).context("Kafka cannot be used")?;
        let ask = || async {
            let mut partitions = Vec::with_capacity(topics.len());
            for topic in topics {
                match admin.ends(topic).await {
                    Ok(ends) if !ends.is_empty() => partitions.push(ends.len()),
                    Ok(_) => return Err(self.without_topic(format!("there is no topic {topic}"))),
                    Err(BusError::Refused(reason)) => return Err(self.without_topic(reason)),
                    Err(error @ BusError::Client(_)) => return Err(Trouble::End(error.into())),
                    Err(error) => return Err(Trouble::Wait(&self.kafka, error.to_string())),
                }
            }
            Ok(partitions)
        };
        let partitions = until("kafka", ask).await?;
        self.kafka.met();
        self.topics.met();
        Ok(partitions)
    }

    /// Kafka answers, so that is not what is missing.
    fn without_topic(&self, reason: String) -> Trouble<'_> {
        self.kafka.met();
        Trouble::Wait(&self.topics, format!("{reason}: run `carillon topics apply`"))
    }
}

/// Why an attempt failed.
enum Trouble<'a> {
    /// It may come by itself: whose condition says so, and why.
    Wait(&'a Condition, String),
    /// It never will.
    End(anyhow::Error),
}

/// Attempts until one succeeds. Logs a reason when it is a new one.
async fn until<'a, T, F>(what: &'static str, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, Trouble<'a>>>,
{
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    let mut told = String::new();
    loop {
        match attempt().await {
            Ok(done) => {
                if !told.is_empty() {
                    info!(server = what, "there now");
                }
                return Ok(done);
            }
            Err(Trouble::End(error)) => return Err(error),
            Err(Trouble::Wait(condition, reason)) => {
                condition.unmet(&reason);
                if told != reason {
                    warn!(server = what, reason, "not there yet, waiting");
                    told = reason;
                }
            }
        }
        sleep(backoff.next()).await;
    }
}
