//! A deployment: what role processes of one test share, on servers that many tests share.
//!
//! In: a binary, servers. Out: a directory with `carillon.toml` and keys, topics and a keyspace of its own,
//! made by the commands that an operator uses. Always: nothing is shared with another test but the servers.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use carillon_auth::mint::SigningKey;
use carillon_bus::{BusConfig, Mechanism, Protocol, Sasl, Security};
use carillon_chassis::{clock::Clock, secret::Secret};
use carillon_fixtures::Description;
use carillon_schemas::{
    claims::Claims,
    topics::{Tier, Topics},
};

use super::{
    leftovers,
    process::{RoleProcess, command, printed},
};

/// How long a token of a deployment is good.
const TOKEN_SECONDS: u64 = 12 * 3600;
/// Tells the deployments of one process apart.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// How a deployment differs from the others.
#[derive(Debug, Clone)]
pub struct DeploymentOptions {
    /// Partitions of the notifications topic.
    pub notifications: u32,
    /// Shards.
    pub shards: u16,
    /// Whether every connection is encrypted and authenticated, to Kafka and to Cassandra.
    pub encrypted: bool,
    /// The tiers of the ladder.
    pub ladder: Vec<Tier>,
    /// More lines of `carillon.toml` for the section `[router]`.
    pub router: String,
    /// Variables of the roles' environment.
    pub environment: Vec<(String, String)>,
}

impl Default for DeploymentOptions {
    fn default() -> Self {
        Self {
            notifications: 3,
            shards: 8,
            encrypted: false,
            ladder: Tier::DEFAULT.to_vec(),
            router: String::new(),
            environment: Vec::new(),
        }
    }
}

/// What the role processes of one test share.
pub struct Deployment {
    binary: PathBuf,
    dir: tempfile::TempDir,
    key: SigningKey,
    clock: Clock,
    servers: Description,
    bus: BusConfig,
    name: String,
    group: String,
    environment: Vec<(String, String)>,
}

#[allow(clippy::expect_used, reason = "a test cannot go on without its deployment")]
impl Deployment {
    /// Writes the configuration. Servers are not asked for anything yet.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn prepare(binary: impl AsRef<Path>, servers: &Description, options: &DeploymentOptions) -> Self {
        let dir = tempfile::Builder::new().prefix("carillon-stack-").tempdir();
        let dir = dir.expect("a directory");
        let clock = Clock::system();
        // Milliseconds, process and count: servers that outlive a run meet no name twice.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{:x}_{}_{count}", clock.unix_ms(), std::process::id());
        let key = SigningKey::generate_ed25519().expect("a signing key");
        let public = key.public_pem().expect("a public key");
        let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).expect("a file");
        write("issuer.pem", public);
        write("carillon.toml", &configuration(&name, servers, options));
        Self {
            binary: binary.as_ref().to_owned(),
            dir,
            key,
            clock,
            bus: bus(&name, servers, options),
            servers: servers.clone(),
            group: format!("{name}-router"),
            environment: options.environment.clone(),
            name,
        }
    }

    /// A prepared deployment with its topics and its keyspace.
    ///
    /// # Panics
    /// When a command fails.
    pub async fn create(
        binary: impl AsRef<Path>,
        servers: &Description,
        options: &DeploymentOptions,
    ) -> Self {
        let deployment = Self::prepare(binary, servers, options);
        deployment.run(&["topics", "apply"]).await;
        deployment.run(&["store", "migrate"]).await;
        deployment
    }

    /// Runs a command of the binary to its end; gives its standard output.
    ///
    /// # Panics
    /// When it fails.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let mut command = command(&self.binary, self.dir.path());
        command.args(arguments);
        let printed = tokio::task::spawn_blocking(move || printed(&mut command));
        printed.await.expect("no panic")
    }

    /// Starts a role (`ingest`, `router`, `fanout`) as a process of this name. Does not wait until it is ready.
    ///
    /// # Panics
    /// As [`RoleProcess::start`].
    pub async fn start(&self, role: &str, name: &str) -> RoleProcess {
        let node = ["--router-node", name];
        let more: &[&str] = if role == "router" { &node } else { &[] };
        let arguments = [&[role], more].concat();
        RoleProcess::start_with(&self.binary, self.dir.path(), name, &arguments, &self.environment).await
    }

    /// A token of a user of a tenant.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn token(&self, tenant: &str, user: &str, scope: &str) -> String {
        token(&self.key, &self.clock, tenant, user, scope)
    }

    /// How a client of its own talks to this deployment's Kafka.
    pub fn bus(&self) -> &BusConfig {
        &self.bus
    }

    /// The group of its routers.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Takes its topics and its keyspace from the servers. Its processes have ended before. After a failed
    /// test they stay, to be looked at.
    #[allow(
        clippy::print_stderr,
        reason = "whoever keeps the servers wants to know what is left there"
    )]
    pub async fn remove(self) {
        for left in leftovers::remove(&self.servers, &self.bus.topics, &self.name).await {
            eprintln!("not removed: {left}");
        }
    }

    /// Where its files are, `carillon.toml` among them.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// Signs a token that is good for an hour.
#[allow(clippy::expect_used, reason = "a test cannot go on without its token")]
pub(super) fn token(key: &SigningKey, clock: &Clock, tenant: &str, user: &str, scope: &str) -> String {
    let now = clock.unix_secs();
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
    key.mint(&claims).expect("a token")
}

fn bus(name: &str, servers: &Description, options: &DeploymentOptions) -> BusConfig {
    let kafka = &servers.kafka;
    let mut bus = BusConfig::new(&kafka.plaintext);
    bus.topics = Topics::with_ladder(&format!("{name}."), &options.ladder);
    if options.encrypted {
        bus.bootstrap.clone_from(&kafka.sasl_tls);
        bus.security = Security {
            protocol: Protocol::SaslTls,
            ca: std::fs::read_to_string(&servers.ca_file).ok(),
            sasl: Some(Sasl {
                mechanism: Mechanism::ScramSha512,
                user: kafka.user.clone(),
                password: Secret::new(kafka.password.as_str()),
            }),
            certificate: None,
        };
    }
    bus
}

/// `carillon.toml` as an operator would write it.
fn configuration(name: &str, servers: &Description, options: &DeploymentOptions) -> String {
    let (kafka, cassandra) = (&servers.kafka, &servers.cassandra);
    let ca = servers.ca_file.display();
    let replication = kafka.plaintext.split(',').count().min(3);
    let (bootstrap, security) = if options.encrypted {
        let (user, password) = (&kafka.user, &kafka.password);
        let lines = format!(
            "[kafka_security]\nprotocol = \"sasl_tls\"\nca_file = \"{ca}\"\nuser = \"{user}\"\n\
             password = \"{password}\"\n"
        );
        (&kafka.sasl_tls, lines)
    } else {
        (&kafka.plaintext, String::new())
    };
    let tls = if options.encrypted {
        format!("tls = true\nca_file = \"{ca}\"\n")
    } else {
        String::new()
    };
    let (notifications, shards) = (options.notifications, options.shards);
    let (ladder, more_router) = (tiers_line(&options.ladder), &options.router);
    let (address, user, password) = (&cassandra.address, &cassandra.user, &cassandra.password);
    format!(
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nkafka = \"{bootstrap}\"\n\
         store = \"cassandra://{address}/{name}\"\nstop_within_seconds = 15\n\
         page_secret = \"a page secret of one test\"\n\
         [auth]\nkey_file = [\"issuer.pem\"]\n\
         [log]\nformat = \"json\"\n\
         [topics]\nprefix = \"{name}.\"\nreplication = {replication}\nnotifications = {notifications}\n\
         shards = {shards}\ndead_letters = 1\n{ladder}\
         [router]\ngroup = \"{name}-router\"\n{more_router}\
         [cassandra]\nuser = \"{user}\"\npassword = \"{password}\"\nreplication = 1\n{tls}{security}"
    )
}

/// The line of `[topics]` that names the tiers of the ladder.
pub fn tiers_line(tiers: &[Tier]) -> String {
    let tiers: Vec<_> = tiers.iter().map(|tier| format!("\"{tier}\"")).collect();
    format!("retry_tiers = [{}]\n", tiers.join(", "))
}
