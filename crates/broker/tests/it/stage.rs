//! The stage: a broker that a test starts, stops, kills and starts again on the same directory.
//!
//! In: options. Out: an address. Always: a dropped stage's broker ends with the test's runtime.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use carillon_broker::{Broker, BrokerError, Options, Stats};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::client::Client;

pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) struct Stage {
    pub(crate) dir: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) stats: Arc<Stats>,
    running: JoinHandle<Result<(), BrokerError>>,
    shutdown: CancellationToken,
    change: fn(&mut Options),
}

impl Stage {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: fn(&mut Options)) -> Self {
        Self::start_in(TempDir::new().unwrap(), change).await.unwrap()
    }

    pub(crate) async fn start_in(dir: TempDir, change: fn(&mut Options)) -> Result<Self, BrokerError> {
        let broker = Broker::bind(options(dir.path(), change)).await?;
        let (address, stats) = (broker.local_addr(), broker.stats());
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        #[allow(clippy::disallowed_methods, reason = "a test's broker has no group of tasks")]
        let running = tokio::spawn(async move { broker.run(token).await });
        Ok(Self {
            dir,
            address,
            stats,
            running,
            shutdown,
            change,
        })
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Stops in order and gives the directory back.
    pub(crate) async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        timeout(LONG, self.running).await.unwrap().unwrap().unwrap();
        self.dir
    }

    /// Drops the broker in the middle of whatever it does: nothing is flushed or saved at the end.
    pub(crate) async fn abandon(self) -> TempDir {
        self.running.abort();
        let _ = self.running.await;
        self.dir
    }

    pub(crate) async fn restart(self) -> Self {
        let change = self.change;
        let dir = self.stop().await;
        Self::start_in(dir, change).await.unwrap()
    }
}

pub(crate) fn options(dir: &Path, change: fn(&mut Options)) -> Options {
    let mut options = Options::new(dir);
    change(&mut options);
    options
}
