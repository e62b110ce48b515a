//! Everything in one process: broker, store, topics, ingest, router, fanout, on one HTTP port and one of Kafka's.
//!
//! In: settings. Out: running parts, addresses, keys. Always: ports and lock first, then work; the stop goes
//! the way of a notification, so that what was accepted is handled before its next room closes.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use carillon_auth::KeySource;
use carillon_bus::{Admin, BusConfig};
use carillon_chassis::{admin, tasks::Tasks};
use carillon_store::NotificationStore;
use tokio::time::Instant;

use super::{
    Keys, Part, Process, access, bind, bind_broker, embedded_bus, layout, page_key, require_loopback,
    resolve, roles::IngestPart, run_broker, serve, start_fanout, start_ingest, start_router, store_config,
};
use crate::settings::Settings;

/// Where `up` listens without being told.
const LISTEN: &str = "127.0.0.1:8080";
/// Scopes of a token that names none.
const SCOPES: &str = "publish read read:tenant listen";
/// The store's file inside the data directory.
const STORE: &str = "carillon.db";

/// Where a running `up` can be reached.
#[derive(Debug, Clone)]
pub(crate) struct UpAddresses {
    pub(crate) http: SocketAddr,
    pub(crate) kafka: SocketAddr,
    /// The file with a token of the tenant `demo`.
    pub(crate) token_file: PathBuf,
}

/// A running `up`.
pub(crate) struct Up {
    pub(crate) process: Process,
    pub(crate) addresses: UpAddresses,
    pub(crate) keys: Arc<Keys>,
    http: Tasks,
    beside: Tasks,
    ingest: IngestPart,
    router: Part,
    fanout: Part,
    store: Arc<dyn NotificationStore>,
    broker: Part,
}

impl Up {
    /// Starts everything. Serves when it returns; [`Process::ready_within`] says when every part takes work.
    pub(crate) async fn start(settings: &Settings, process: Process) -> Result<Self> {
        let listen = settings.listen.as_deref().unwrap_or(LISTEN);
        let (listener, http_address) = bind("--listen", resolve("--listen", listen)?).await?;
        require_loopback(settings, http_address)?;
        let broker = bind_broker(settings).await?;
        let kafka_address = broker.local_addr();
        let keys = Arc::new(Keys::open(&settings.data_dir)?);
        let own = keys
            .signing
            .public_pem()
            .map(|pem| KeySource::Pem(pem.to_owned()));
        let access = access(settings, own, SCOPES, &process.clock)?;
        let url = format!("sqlite:{}", settings.data_dir.join(STORE).display());
        let config = store_config(settings)?;
        let store = carillon_store::open(&url, &config, &process.clock, &process.metrics)
            .await
            .context("the store could not be opened")?;
        let broker = run_broker(broker, &process);

        let bus = embedded_bus(settings, &kafka_address.to_string(), "up");
        let layout = layout(settings, 1);
        provision(&bus, &layout, &process).await?;
        let router = start_router(settings, &process, &bus, &store, layout.shards)?;
        let (fanout, fanout_part) = start_fanout(settings, &process, &bus, &store, &access)?;
        let page_key = page_key(settings, || keys.page_secret())?;
        let ingest = start_ingest(settings, &process, &bus, &store, &access, page_key)?;
        let routes = ingest.ingest.routes().merge(fanout.routes());
        let routes = routes.merge(admin::routes(&process.readiness, &process.metrics));
        let http = serve(listener, routes);

        let beside = Tasks::new();
        let token_file = keep_token(&keys, &process, &beside)?;
        let addresses = UpAddresses {
            http: http_address,
            kafka: kafka_address,
            token_file,
        };
        Ok(Self {
            process,
            addresses,
            keys,
            http,
            beside,
            ingest,
            router,
            fanout: fanout_part,
            store,
            broker,
        })
    }

    /// Stops in order: no new requests, ingest, router, sockets, store, broker. Then the reason, if it was a
    /// failure.
    pub(crate) async fn stop(self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        let left = || deadline.saturating_duration_since(Instant::now());
        self.process.stop();
        self.beside.close(left()).await;
        // Requests under way are answered: nobody who got no answer knows whether it was accepted.
        self.http.close(left() / 3).await;
        let ingest = self.ingest.stop(left() / 3).await;
        let router = self.router.stop(left() / 2).await;
        let fanout = self.fanout.stop(left() / 2).await;
        let store = tokio::time::timeout(left() / 2, self.store.close()).await;
        let broker = self.broker.stop(left()).await;
        self.process.outcome()?;
        ingest.and(router).and(fanout).and(broker)?;
        store.context("the store did not close in time")
    }
}

async fn provision(
    bus: &BusConfig,
    layout: &carillon_schemas::topics::Layout,
    process: &Process,
) -> Result<()> {
    let admin = Admin::new(bus, &process.metrics)?;
    admin
        .apply(&bus.topics.all(layout))
        .await
        .context("the topics could not be made")?;
    Ok(())
}

/// Writes the token of the tenant `demo`, and a fresh one before it ends.
fn keep_token(keys: &Arc<Keys>, process: &Process, tasks: &Tasks) -> Result<PathBuf> {
    let (path, mut due) = keys.write_token(&process.clock)?;
    let (keys, clock, stop) = (Arc::clone(keys), process.clock.clone(), tasks.shutdown().clone());
    tasks.spawn("demo token", async move {
        while stop.run_until_cancelled(tokio::time::sleep(due)).await.is_some() {
            match keys.write_token(&clock) {
                Ok((_, next)) => due = next,
                Err(error) => {
                    tracing::warn!(%error, "token not renewed, trying again");
                    due = Duration::from_mins(1);
                }
            }
        }
    });
    Ok(path)
}
