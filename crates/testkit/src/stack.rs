//! A stack: several roles of each kind, on a lane of one's choice.
//!
//! In: a lane, how many of each role. Out: running nodes on free ports, tokens, and the addresses that actors
//! need. Always: each node has its own metrics, readiness and shutdown; [`Stack::finish`] stops everything in
//! the order of a graceful shutdown and fails the test when something is left.

mod deployment;
mod embedded;
mod lane;
mod leftovers;
mod node;
mod platform;
mod process;

use std::time::Duration;

use carillon_bus::BusConfig;

use self::platform::Platform;
pub(crate) use self::process::{command, printed};
pub use self::{
    deployment::{Deployment, DeploymentOptions, tiers_line},
    lane::Lane,
    node::Node,
    process::{RoleProcess, Unmet},
};

/// How long a node may take to stop, or to begin.
pub const STOP: Duration = Duration::from_secs(20);

/// How many of each role, on what.
#[derive(Debug, Clone)]
pub struct StackBuilder {
    lane: Lane,
    ingests: usize,
    routers: usize,
    fanouts: usize,
    options: DeploymentOptions,
}

/// Running roles.
pub struct Stack {
    /// HTTP in.
    pub ingests: Vec<Node>,
    /// Between.
    pub routers: Vec<Node>,
    /// Sockets out.
    pub fanouts: Vec<Node>,
    /// Nodes started so far: no name is used twice.
    started: usize,
    platform: Platform,
}

impl StackBuilder {
    /// So many ingests.
    pub fn ingests(mut self, n: usize) -> Self {
        self.ingests = n;
        self
    }

    /// So many routers, in one group.
    pub fn routers(mut self, n: usize) -> Self {
        self.routers = n;
        self
    }

    /// So many fanouts; each reads all shards.
    pub fn fanouts(mut self, n: usize) -> Self {
        self.fanouts = n;
        self
    }

    /// So many shards.
    pub fn shards(mut self, n: u16) -> Self {
        self.options.shards = n;
        self
    }

    /// Encrypts and authenticates every connection to the servers. The embedded ones have neither.
    pub fn encrypted(mut self) -> Self {
        self.options.encrypted = true;
        self
    }

    /// Starts everything and waits until every node is ready.
    ///
    /// # Panics
    /// When a part does not start.
    pub async fn start(self) -> Stack {
        let platform = Platform::start(&self.lane, &self.options).await;
        let mut stack = Stack {
            ingests: vec![],
            routers: vec![],
            fanouts: vec![],
            started: 0,
            platform,
        };
        for _ in 0..self.routers {
            stack.start_router().await;
        }
        for _ in 0..self.fanouts {
            stack.begin_fanout().await;
        }
        for _ in 0..self.ingests {
            let name = stack.name("ingest");
            let node = stack.platform.ingest(name).await;
            stack.ingests.push(node);
        }
        for node in stack.nodes() {
            node.ready().await;
        }
        stack
    }
}

impl Stack {
    /// One of each role, 8 shards.
    pub fn builder(lane: Lane) -> StackBuilder {
        StackBuilder {
            lane,
            ingests: 1,
            routers: 1,
            fanouts: 1,
            options: DeploymentOptions::default(),
        }
    }

    /// A token of a user of a tenant with all scopes that a tenant can have.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn token(&self, tenant: &str, user: &str) -> String {
        self.token_with(tenant, user, "publish read:tenant read listen operate admin")
    }

    /// A token with chosen scopes.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn token_with(&self, tenant: &str, user: &str, scope: &str) -> String {
        self.platform.token(tenant, user, scope)
    }

    /// How a client of its own talks to the stack's Kafka.
    pub fn bus(&self) -> &BusConfig {
        self.platform.bus()
    }

    /// Starts one more router in the same group. Does not wait until it is ready.
    pub async fn start_router(&mut self) {
        let name = self.name("router");
        let node = self.platform.router(name).await;
        self.routers.push(node);
    }

    /// Starts one more fanout.
    pub async fn start_fanout(&mut self) {
        self.begin_fanout().await;
        if let Some(node) = self.fanouts.last() {
            node.ready().await;
        }
    }

    async fn begin_fanout(&mut self) {
        let name = self.name("fanout");
        let node = self.platform.fanout(name).await;
        self.fanouts.push(node);
    }

    fn name(&mut self, role: &str) -> String {
        self.started += 1;
        format!("{role}-{}", self.started)
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.ingests.iter().chain(&self.routers).chain(&self.fanouts)
    }

    /// Stops every role, after the group has handled everything that was accepted, then what it stood on.
    ///
    /// # Panics
    /// When a node does not stop in time, or a record is left unsettled.
    pub async fn finish(self) {
        let Self {
            ingests,
            routers,
            fanouts,
            platform,
            ..
        } = self;
        for node in ingests {
            node.stop().await;
        }
        platform.settled().await;
        for node in routers.into_iter().chain(fanouts) {
            node.stop().await;
        }
        platform.stop().await;
    }
}
