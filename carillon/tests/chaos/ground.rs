//! The ground that a run stands on: either lane behind one face.
//!
//! In: settings. Out: addresses, tokens, the way to Kafka; faults that are begun and undone. Always: what was undone runs;
//! whether it is ready is asked for apart.

use std::{path::PathBuf, time::Duration};

use carillon_bus::BusConfig;
use carillon_testkit::chaos::{self, Fault};

use crate::{cluster::ClusterGround, embedded::EmbeddedGround, settings::Settings};

/// How long everything may take to be ready after faults: a router's backoff may have grown to 30 s.
pub(crate) const READY: Duration = Duration::from_secs(120);
/// What actors may do.
pub(crate) const SCOPES: &str = "publish read read:tenant listen";

/// A running installation.
#[allow(clippy::large_enum_variant, reason = "there is one of it in a test")]
pub(crate) enum Ground {
    Cluster(ClusterGround),
    Embedded(EmbeddedGround),
}

impl Ground {
    /// Starts everything, and waits until all of it is ready.
    pub(crate) async fn start(settings: &Settings) -> Self {
        match settings.ground {
            chaos::Ground::Cluster => Self::Cluster(ClusterGround::start(settings).await),
            chaos::Ground::Embedded => Self::Embedded(EmbeddedGround::start(settings).await),
        }
    }

    /// `http://host:port` for publishers and readers.
    pub(crate) fn ingest_url(&self) -> String {
        match self {
            Self::Cluster(ground) => ground.ingest_url(),
            Self::Embedded(ground) => ground.url(),
        }
    }

    /// `http://host:port` for listeners.
    pub(crate) fn fanout_url(&self) -> String {
        match self {
            Self::Cluster(ground) => ground.fanout_url(),
            Self::Embedded(ground) => ground.url(),
        }
    }

    pub(crate) fn token(&self, tenant: &str) -> String {
        match self {
            Self::Cluster(ground) => ground.token(tenant),
            Self::Embedded(ground) => ground.token(tenant),
        }
    }

    pub(crate) fn bus(&self) -> BusConfig {
        match self {
            Self::Cluster(ground) => ground.bus(),
            Self::Embedded(ground) => ground.bus(),
        }
    }

    /// The consumer group of the routers.
    pub(crate) fn group(&self) -> String {
        match self {
            Self::Cluster(ground) => ground.group(),
            Self::Embedded(_) => "carillon-router".to_owned(),
        }
    }

    /// Waits for what must be there before a fault may strike: no broker is hit while another is away.
    pub(crate) async fn await_target(&mut self, fault: &Fault) {
        if let Self::Cluster(ground) = self {
            ground.await_target(fault).await;
        }
    }

    /// Strikes. Gives the bad end of what was asked to end.
    pub(crate) async fn begin(&mut self, fault: &Fault) -> Option<String> {
        match self {
            Self::Cluster(ground) => ground.begin(fault).await,
            Self::Embedded(ground) => ground.begin(fault).await,
        }
    }

    /// Starts it again, or lets it go on.
    pub(crate) async fn undo(&mut self, fault: &Fault) {
        match self {
            Self::Cluster(ground) => ground.undo(fault).await,
            Self::Embedded(ground) => ground.undo(fault).await,
        }
    }

    /// Waits until all of it is ready.
    pub(crate) async fn ready(&mut self) {
        match self {
            Self::Cluster(ground) => ground.ready().await,
            Self::Embedded(ground) => ground.ready().await,
        }
    }

    /// Files and directories that tell what happened, for a run that failed.
    pub(crate) fn logs(&self) -> Vec<PathBuf> {
        match self {
            Self::Cluster(ground) => ground.logs(),
            Self::Embedded(ground) => ground.logs(),
        }
    }

    /// Ends everything in order; gives bad ends.
    pub(crate) async fn stop(self) -> Vec<String> {
        match self {
            Self::Cluster(ground) => ground.stop().await,
            Self::Embedded(ground) => ground.stop().await,
        }
    }
}
