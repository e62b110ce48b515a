//! The platform of a stack: either lane behind one face.
//!
//! In: a lane. Out: nodes, tokens, the way to Kafka. Always: what was accepted is settled before the stop, on
//! either lane by the same measure, the lag of the routers' group.

use carillon_auth::{AuthConfig, KeySource, mint::SigningKey};
use carillon_bus::{Admin, BusConfig};
use carillon_chassis::{clock::Clock, metrics::Metrics};
use carillon_fixtures::eventually;

use super::{
    Deployment, DeploymentOptions, Lane, Node,
    deployment::token,
    embedded::{Embedded, GROUP},
};

/// What the roles of a stack stand on.
#[allow(clippy::large_enum_variant, reason = "there is one of it in a test")]
pub(super) enum Platform {
    Embedded {
        embedded: Embedded,
        key: SigningKey,
        clock: Clock,
    },
    Cluster(Deployment),
}

impl Platform {
    #[allow(clippy::expect_used, reason = "a test cannot go on without its stack")]
    pub(super) async fn start(lane: &Lane, options: &DeploymentOptions) -> Self {
        match lane {
            Lane::Embedded => {
                let key = SigningKey::generate_ed25519().expect("a signing key");
                let pem = key.public_pem().expect("a public key").to_owned();
                let auth = AuthConfig {
                    keys: vec![KeySource::Pem(pem)],
                    ..AuthConfig::default()
                };
                let clock = Clock::system();
                let embedded = Embedded::start(auth, clock.clone(), options.shards).await;
                Self::Embedded { embedded, key, clock }
            }
            Lane::Cluster { binary } => {
                Self::Cluster(Deployment::create(binary, &carillon_fixtures::shared(), options).await)
            }
        }
    }

    pub(super) async fn ingest(&self, name: String) -> Node {
        match self {
            Self::Embedded { embedded, .. } => embedded.ingest(name).await,
            Self::Cluster(deployment) => deployment.start("ingest", &name).await.into(),
        }
    }

    pub(super) async fn router(&self, name: String) -> Node {
        match self {
            Self::Embedded { embedded, .. } => embedded.router(name),
            Self::Cluster(deployment) => deployment.start("router", &name).await.into(),
        }
    }

    pub(super) async fn fanout(&self, name: String) -> Node {
        match self {
            Self::Embedded { embedded, .. } => embedded.fanout(name).await,
            Self::Cluster(deployment) => deployment.start("fanout", &name).await.into(),
        }
    }

    pub(super) fn token(&self, tenant: &str, user: &str, scope: &str) -> String {
        match self {
            Self::Embedded { key, clock, .. } => token(key, clock, tenant, user, scope),
            Self::Cluster(deployment) => deployment.token(tenant, user, scope),
        }
    }

    pub(super) fn bus(&self) -> &BusConfig {
        match self {
            Self::Embedded { embedded, .. } => embedded.base(),
            Self::Cluster(deployment) => deployment.bus(),
        }
    }

    fn group(&self) -> &str {
        match self {
            Self::Embedded { .. } => GROUP,
            Self::Cluster(deployment) => deployment.group(),
        }
    }

    /// Waits until every record of the notifications topic was handled: the group's committed offsets have
    /// reached the ends.
    #[allow(clippy::expect_used, reason = "a test cannot go on without it")]
    pub(super) async fn settled(&self) {
        let bus = self.bus();
        let admin = Admin::new(bus, &Metrics::new()).expect("an admin client");
        let topic = bus.topics.notifications.as_str();
        let lag = || async { admin.lag(self.group(), topic).await.map_err(|e| e.to_string()) };
        let left = eventually("everything accepted is settled", lag, |lag| *lag == Ok(0)).await;
        assert_eq!(left, Ok(0));
    }

    pub(super) async fn stop(self) {
        match self {
            Self::Embedded { embedded, .. } => embedded.stop().await,
            Self::Cluster(deployment) => deployment.remove().await,
        }
    }
}
