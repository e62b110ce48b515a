//! A stack: several roles in one process, on an embedded broker and a SQLite store of its own.
//!
//! In: how many of each role. Out: running nodes on port 0, tokens, and the addresses that actors need.
//! Always: each node has its own metrics, readiness and tasks, as if it were a process; [`Stack::finish`]
//! stops everything in the order of a graceful shutdown and fails the test when something is left.

mod node;
mod platform;

use std::time::Duration;

use carillon_auth::{AuthConfig, KeySource, mint::SigningKey};
use carillon_chassis::clock::Clock;
use carillon_schemas::claims::Claims;

pub use self::node::Node;
use self::platform::Platform;

/// How long a token of a stack is good.
const TOKEN_SECONDS: u64 = 3600;
/// How long a node may take to stop.
pub const STOP: Duration = Duration::from_secs(20);

/// How many of each role.
#[derive(Debug, Clone)]
pub struct StackBuilder {
    ingests: usize,
    routers: usize,
    fanouts: usize,
    shards: u16,
}

/// Running roles.
pub struct Stack {
    /// HTTP in.
    pub ingests: Vec<Node>,
    /// Between.
    pub routers: Vec<Node>,
    /// Sockets out.
    pub fanouts: Vec<Node>,
    key: SigningKey,
    clock: Clock,
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
        self.shards = n;
        self
    }

    /// Starts everything and waits until every node is ready.
    ///
    /// # Panics
    /// When a part does not start.
    #[allow(clippy::expect_used, reason = "a test cannot go on without its stack")]
    pub async fn start(self) -> Stack {
        let key = SigningKey::generate_ed25519().expect("a signing key");
        let pem = key.public_pem().expect("a public key").to_owned();
        let auth = AuthConfig {
            keys: vec![KeySource::Pem(pem)],
            ..AuthConfig::default()
        };
        let clock = Clock::system();
        let platform = Platform::start(auth, clock.clone(), self.shards).await;
        let mut stack = Stack {
            ingests: vec![],
            routers: vec![],
            fanouts: vec![],
            key,
            clock,
            platform,
        };
        for n in 0..self.routers {
            stack.routers.push(stack.platform.router(n));
        }
        for n in 0..self.fanouts {
            stack.fanouts.push(stack.platform.fanout(n).await);
        }
        for n in 0..self.ingests {
            stack.ingests.push(stack.platform.ingest(n).await);
        }
        for node in stack.nodes() {
            node.ready().await;
        }
        stack
    }
}

impl Stack {
    /// One of each role, 8 shards.
    pub fn builder() -> StackBuilder {
        StackBuilder {
            ingests: 1,
            routers: 1,
            fanouts: 1,
            shards: 8,
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
    #[allow(clippy::expect_used, reason = "a test cannot go on without its token")]
    pub fn token_with(&self, tenant: &str, user: &str, scope: &str) -> String {
        let now = self.clock.unix_secs();
        let claims = Claims {
            tenant_id: tenant.to_owned(),
            sub: user.to_owned(),
            iat: now,
            nbf: now,
            exp: now + TOKEN_SECONDS,
            scope: Some(scope.to_owned()),
            iss: None,
            aud: None,
            jti: None,
            channels: None,
        };
        self.key.mint(&claims).expect("a token")
    }

    /// `host:port` of Kafka.
    pub fn kafka(&self) -> &str {
        self.platform.kafka()
    }

    /// Starts one more router in the same group.
    pub fn start_router(&mut self) {
        let node = self.platform.router(self.routers.len());
        self.routers.push(node);
    }

    /// Starts one more fanout.
    pub async fn start_fanout(&mut self) {
        let node = self.platform.fanout(self.fanouts.len()).await;
        node.ready().await;
        self.fanouts.push(node);
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.ingests.iter().chain(&self.routers).chain(&self.fanouts)
    }

    /// Stops every role, then waits until the group has handled everything that was accepted, then stops the
    /// broker and the store.
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
