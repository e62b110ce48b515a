//! Flags: groups that several commands share, and how they become the top layer of the settings.
//!
//! In: parsed arguments. Out: pairs of key and value. Always: a flag is named as its key, so that a source
//! in a listing is what one would type.

use std::path::{Path, PathBuf};

use anyhow::Result;
use carillon_chassis::config::{self, Layers, Loaded};
use clap::Args;

use super::{
    Fsync, Settings,
    server_flags::{CassandraFlags, KafkaSecurityFlags},
};

/// The file that is read without being named, where it exists.
const FILE: &str = "carillon.toml";
/// Variables of the client commands, which are no settings.
const CLIENT_VARIABLES: [&str; 2] = ["CARILLON_TOKEN", "CARILLON_URL"];
/// The variable of tests that is no setting, in a binary that was built for them.
const TEST_VARIABLE: Option<&str> = if cfg!(feature = "seeded-bugs") {
    Some("CARILLON_SEEDED_BUG")
} else {
    None
};
/// Variables whose text is never read as a number, a list or a truth.
const TEXT_VARIABLES: [&str; 6] = [
    "CARILLON_AUTH_HS256_SECRET",
    "CARILLON_PAGE_SECRET",
    "CARILLON_KAFKA_SECURITY_USER",
    "CARILLON_KAFKA_SECURITY_PASSWORD",
    "CARILLON_CASSANDRA_USER",
    "CARILLON_CASSANDRA_PASSWORD",
];

/// The top layer: keys with their values as TOML, and whose settings the command is going to use.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pairs: Vec<(String, String)>,
    enters: Enters,
}

/// The servers that a command enters: those whose flags it takes. What is said about the others, in a file or
/// in the environment that several commands share, is none of its business.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Enters {
    pub(super) kafka: bool,
    pub(super) cassandra: bool,
}

impl Pairs {
    /// A text, whatever it looks like.
    pub(crate) fn text(&mut self, key: &str, value: Option<&impl ToString>) {
        let quoted = |text: String| serde_json::Value::String(text).to_string();
        self.raw(key, value.map(|value| quoted(value.to_string())));
    }

    pub(super) fn path(&mut self, key: &str, value: Option<&Path>) {
        self.text(key, value.map(|path| path.display().to_string()).as_ref());
    }

    fn list(&mut self, key: &str, values: &[String]) {
        if !values.is_empty() {
            self.raw(key, Some(serde_json::Value::from(values.to_vec()).to_string()));
        }
    }

    /// A number.
    pub(crate) fn number(&mut self, key: &str, value: Option<impl Into<u64>>) {
        self.raw(key, value.map(|number| number.into().to_string()));
    }

    /// A flag that is only ever set.
    pub(crate) fn set(&mut self, key: &str, value: bool) {
        self.raw(key, value.then(|| "true".to_owned()));
    }

    fn raw(&mut self, key: &str, value: Option<String>) {
        self.pairs.extend(value.map(|value| (key.to_owned(), value)));
    }

    pub(super) fn enters_kafka(&mut self) {
        self.enters.kafka = true;
    }

    pub(super) fn enters_cassandra(&mut self) {
        self.enters.cassandra = true;
    }
}

/// Loads the settings: flags over environment over file over default.
///
/// # Errors
/// An unreadable file, an unknown key with the nearest known one, a value that does not fit, settings of a server
/// that the command enters that contradict each other.
pub(crate) fn load(config: &ConfigFlags, mut flags: Pairs) -> Result<Loaded<Settings>> {
    flags.text("log.filter", config.log_filter.as_ref());
    flags.text("log.format", config.log_format.as_ref());
    let unnamed = || Some(PathBuf::from(FILE)).filter(|path| path.exists());
    let environment = config::environment().into_iter();
    let environment = environment.filter(|(name, _)| {
        !CLIENT_VARIABLES.contains(&name.as_str()) && TEST_VARIABLE != Some(name.as_str())
    });
    let layers = Layers {
        file: config.config.clone().or_else(unnamed),
        environment: environment.map(quote_text).collect(),
        flags: flags.pairs,
    };
    let loaded: Loaded<Settings> = config::load(&layers)?;
    loaded.settings.check(flags.enters)?;
    Ok(loaded)
}

fn quote_text((name, value): (String, String)) -> (String, String) {
    if TEXT_VARIABLES.contains(&name.as_str()) {
        let value = serde_json::Value::String(value).to_string();
        return (name, value);
    }
    (name, value)
}

/// Where settings come from, and what is logged.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigFlags {
    /// A configuration file (without it, carillon.toml where it exists).
    #[arg(long, value_name = "FILE", help_heading = "Configuration")]
    pub(crate) config: Option<PathBuf>,
    /// What is logged, such as info,carillon_router=debug.
    #[arg(long, value_name = "FILTER", help_heading = "Configuration")]
    pub(crate) log_filter: Option<String>,
    /// The form of log lines: text or json.
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"], help_heading = "Configuration")]
    pub(crate) log_format: Option<String>,
}

/// Where the embedded broker and store keep their data, and when it is safe there.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DataFlags {
    /// Where everything is kept [default: ./carillon-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where the Kafka protocol is served [default: 127.0.0.1:9092].
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka_listen: Option<String>,
    /// Let the Kafka protocol leave loopback. It asks nobody who they are.
    #[arg(long)]
    pub(crate) kafka_allow_remote: bool,
    /// When a write counts as durable [default: each].
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) fsync: Option<Fsync>,
}

impl DataFlags {
    pub(crate) fn push(&self, pairs: &mut Pairs) {
        pairs.path("data_dir", self.data_dir.as_deref());
        pairs.text("kafka_listen", self.kafka_listen.as_ref());
        pairs.set("kafka_allow_remote", self.kafka_allow_remote);
        let fsync = self.fsync.map(|fsync| match fsync {
            Fsync::Each => "each",
            Fsync::Interval => "interval",
        });
        pairs.text("fsync", fsync.as_ref());
    }
}

/// Who is believed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AuthFlags {
    /// Ask for no token. Only on loopback.
    #[arg(long)]
    pub(crate) no_auth: bool,
    /// Public keys in PEM that tokens are verified with. May be repeated.
    #[arg(long, value_name = "PEM")]
    pub(crate) auth_key_file: Vec<String>,
    /// A JSON Web Key Set that tokens are verified with. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_jwks: Vec<String>,
    /// A shared secret of at least 32 bytes (or CARILLON_AUTH_HS256_SECRET); for development.
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_hs256_secret_file: Option<PathBuf>,
    /// The one accepted issuer [default: any].
    #[arg(long, value_name = "ISS")]
    pub(crate) auth_issuer: Option<String>,
    /// The audience that names this installation [default: tokens without one].
    #[arg(long, value_name = "AUD")]
    pub(crate) auth_audience: Option<String>,
    /// Scopes of a token that names none.
    #[arg(long, value_name = "SCOPES")]
    pub(crate) auth_default_scopes: Option<String>,
    /// A browser origin that may call and connect, or *. May be repeated.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origins: Vec<String>,
}

impl AuthFlags {
    pub(crate) fn push(&self, pairs: &mut Pairs) {
        pairs.set("no_auth", self.no_auth);
        pairs.list("auth.key_file", &self.auth_key_file);
        pairs.list("auth.jwks", &self.auth_jwks);
        pairs.path("auth.hs256_secret_file", self.auth_hs256_secret_file.as_deref());
        pairs.text("auth.issuer", self.auth_issuer.as_ref());
        pairs.text("auth.audience", self.auth_audience.as_ref());
        pairs.text("auth.default_scopes", self.auth_default_scopes.as_ref());
        pairs.list("origins", &self.origins);
    }
}

/// Where Kafka is.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Kafka")]
pub(crate) struct KafkaFlags {
    /// Kafka's host:port, several separated by commas [default: 127.0.0.1:9092].
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,
    /// What topic names begin with [default: carillon.].
    #[arg(long, value_name = "TEXT")]
    pub(crate) topics_prefix: Option<String>,
    #[command(flatten)]
    security: KafkaSecurityFlags,
}

impl KafkaFlags {
    pub(crate) fn push(&self, pairs: &mut Pairs) {
        pairs.text("kafka", self.kafka.as_ref());
        pairs.text("topics.prefix", self.topics_prefix.as_ref());
        self.security.push(pairs);
    }
}

/// Where a role keeps things.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreFlags {
    /// The store: cassandra://HOST:PORT,HOST:PORT/KEYSPACE, or sqlite:PATH on one machine.
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    #[command(flatten)]
    cassandra: CassandraFlags,
}

impl StoreFlags {
    pub(crate) fn push(&self, pairs: &mut Pairs) {
        pairs.text("store", self.store.as_ref());
        self.cassandra.push(pairs);
    }
}

/// Where a role shows its health.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Health")]
pub(crate) struct AdminFlags {
    /// Where health, readiness and metrics are served; port 0 takes a free one, which the log's first line
    /// names [default: 127.0.0.1:9100].
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) admin_listen: Option<String>,
}

impl AdminFlags {
    pub(crate) fn push(&self, pairs: &mut Pairs) {
        pairs.text("admin_listen", self.admin_listen.as_ref());
    }
}

/// How topics are laid out.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Topics")]
pub(crate) struct LayoutFlags {
    /// Copies of each partition [default: 3].
    #[arg(long, visible_alias = "replication", value_name = "N")]
    pub(crate) topics_replication: Option<u16>,
    /// Partitions of the deliveries topic [default: 64 with one copy, 256 with more].
    #[arg(long, visible_alias = "shards", value_name = "N")]
    pub(crate) topics_shards: Option<u16>,
}

impl LayoutFlags {
    pub(crate) fn push(&self, pairs: &mut Pairs) {
        pairs.number("topics.replication", self.topics_replication);
        pairs.number("topics.shards", self.topics_shards);
    }
}
