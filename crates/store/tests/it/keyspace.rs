//! Keyspaces of the shared cluster for tests: one that many tests share, or one for a test alone.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use carillon_chassis::{clock::Clock, metrics::Metrics, secret::Secret};
use carillon_fixtures::Description;
use carillon_store::{
    CassandraOptions, NotificationStore, StoreConfig, StoreError,
    conformance::{Subject, facts::EPOCH_MS},
    migrate, open,
};
use scylla::client::{session::Session, session_builder::SessionBuilder};
use tokio::sync::Mutex;

/// What keyspaces of tests begin with; a number and the process follow.
const PREFIX: &str = "carillon_store_test_";

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A keyspace that is dropped at the end.
pub(crate) struct Keyspace {
    pub(crate) name: String,
    pub(crate) cluster: Description,
}

impl Keyspace {
    /// A name that is free; nothing is made.
    pub(crate) fn unmade() -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            name: format!("{PREFIX}{}_{n}", std::process::id()),
            cluster: carillon_fixtures::shared(),
        }
    }

    /// Made and migrated.
    pub(crate) async fn migrated() -> Self {
        let keyspace = Self::unmade();
        migrate(&keyspace.url(), &keyspace.config()).await.unwrap();
        keyspace
    }

    /// The one that tests share, migrated. It goes when the last of those that run has ended.
    pub(crate) async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Keyspace>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(keyspace) = shared.upgrade() {
            return keyspace;
        }
        let keyspace = Arc::new(Self::migrated().await);
        *shared = Arc::downgrade(&keyspace);
        keyspace
    }

    pub(crate) fn url(&self) -> String {
        self.url_through(&self.cluster.cassandra.address)
    }

    /// Its URL through another address.
    pub(crate) fn url_through(&self, address: &str) -> String {
        format!("cassandra://{address}/{}", self.name)
    }

    pub(crate) fn config(&self) -> StoreConfig {
        let cassandra = &self.cluster.cassandra;
        StoreConfig {
            cassandra: CassandraOptions {
                user: Some(cassandra.user.clone()),
                password: Some(Secret::new(cassandra.password.clone())),
                replication: 1,
                ..CassandraOptions::default()
            },
            ..StoreConfig::default()
        }
    }

    pub(crate) async fn open(&self, clock: &Clock) -> Result<Arc<dyn NotificationStore>, StoreError> {
        open(&self.url(), &self.config(), clock, &Metrics::new()).await
    }

    /// A session past the store.
    pub(crate) async fn by_hand(&self) -> Session {
        session(&self.cluster).await
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        let (statement, cluster) = (
            format!("DROP KEYSPACE IF EXISTS {}", self.name),
            self.cluster.clone(),
        );
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let session = session(&cluster).await;
                let dropped = session.query_unpaged(statement, ()).await;
                dropped.map(|_| ()).map_err(|error| error.to_string())
            })
        });
        let dropped = dropping.join().expect("a thread that drops a keyspace");
        if !std::thread::panicking() {
            dropped.unwrap();
        }
    }
}

async fn session(cluster: &Description) -> Session {
    let builder = SessionBuilder::new()
        .known_node(&cluster.cassandra.address)
        .user(&cluster.cassandra.user, &cluster.cassandra.password)
        .fetch_schema_metadata(false);
    Box::pin(builder.build()).await.unwrap()
}

/// A number that no other test of this process has, for names of tenants.
pub(crate) fn run() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A subject for the conformance suite, and the keyspace that it shares.
pub(crate) async fn subject() -> (Subject, Arc<Keyspace>) {
    let keyspace = Keyspace::shared().await;
    let clock = Clock::manual(EPOCH_MS);
    let subject = Subject {
        store: keyspace.open(&clock).await.unwrap(),
        other: keyspace.open(&clock).await.unwrap(),
        retention: keyspace.config().retention,
        clock,
        run: run(),
    };
    (subject, keyspace)
}
