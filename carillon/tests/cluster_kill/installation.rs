//! An installation of two processes of each role, on servers of its own.
//!
//! In: servers. Out: roles that can be killed and come back on their addresses, tokens. Always: set up by the
//! commands that operators use; every process ends with the value.

use carillon_fixtures::Description;
use carillon_testkit::stack::{Deployment, DeploymentOptions, RoleProcess};

const BINARY: &str = env!("CARGO_BIN_EXE_carillon");

/// Two of each.
pub(crate) struct Installation {
    pub(crate) ingests: Vec<RoleProcess>,
    pub(crate) routers: Vec<RoleProcess>,
    pub(crate) fanouts: Vec<RoleProcess>,
    // After the processes: they end before it goes.
    deployment: Deployment,
}

impl Installation {
    /// Makes topics and schema, starts two of each role and waits until all are ready.
    pub(crate) async fn start(servers: &Description) -> Self {
        let options = DeploymentOptions {
            notifications: 6,
            shards: 16,
            ..DeploymentOptions::default()
        };
        let deployment = Deployment::create(BINARY, servers, &options).await;
        let installation = Self {
            ingests: two(&deployment, "ingest").await,
            routers: two(&deployment, "router").await,
            fanouts: two(&deployment, "fanout").await,
            deployment,
        };
        for role in installation.roles() {
            role.ready().await;
        }
        installation
    }

    /// A token of a tenant that may do what the actors of these tests do.
    pub(crate) fn token(&self, tenant: &str) -> String {
        self.deployment
            .token(tenant, "u1", "publish read read:tenant listen")
    }

    /// Ends every process in order; each says 0.
    pub(crate) async fn stop(mut self) {
        for role in self
            .ingests
            .iter_mut()
            .chain(&mut self.routers)
            .chain(&mut self.fanouts)
        {
            assert_eq!(role.terminate().await, Some(0), "{}:\n{}", role.name, role.log());
        }
        self.deployment.remove().await;
    }

    fn roles(&self) -> impl Iterator<Item = &RoleProcess> {
        self.ingests.iter().chain(&self.routers).chain(&self.fanouts)
    }
}

async fn two(deployment: &Deployment, kind: &str) -> Vec<RoleProcess> {
    let mut roles = Vec::new();
    for n in 1..=2 {
        roles.push(deployment.start(kind, &format!("{kind}-{n}")).await);
    }
    roles
}
