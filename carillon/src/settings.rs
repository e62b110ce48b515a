//! Settings: everything that a file, the environment or a flag may say.
//!
//! In: layers. Out: one value per key, with its source. Always: a default stands here once; `null` means
//! that the command chooses, and its help says what.

mod flags;
mod server_flags;
mod servers;
mod values;

use std::{num::NonZeroUsize, path::PathBuf};

use carillon_chassis::{secret::Secret, telemetry::LogFormat};
use carillon_schemas::{ChannelName, TenantId, topics::Tier};
use serde::{Deserialize, Serialize};

use flags::Enters;
pub(crate) use flags::{
    AdminFlags, AuthFlags, ConfigFlags, DataFlags, KafkaFlags, LayoutFlags, Pairs, StoreFlags, load,
};
pub(crate) use servers::{CassandraSettings, KafkaSecuritySettings};
pub(crate) use values::secret_file;

use crate::output::Usage;

/// When a write counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fsync {
    /// When it is on disk.
    Each,
    /// When the operating system has it; the disk follows within 100 ms.
    Interval,
}

/// Every setting. Field names are the keys of `carillon.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where `up` and `broker` keep everything.
    pub(crate) data_dir: PathBuf,
    /// Where HTTP and WebSocket are served; `null`: 127.0.0.1:8080, for fanout :8081.
    pub(crate) listen: Option<String>,
    /// Where a role serves health, readiness and metrics.
    pub(crate) admin_listen: String,
    /// Where the embedded broker listens.
    pub(crate) kafka_listen: String,
    /// Whether the embedded broker may leave loopback. It asks nobody who they are.
    pub(crate) kafka_allow_remote: bool,
    /// Kafka's `host:port`, several separated by commas.
    pub(crate) kafka: String,
    /// How Kafka is entered.
    pub(crate) kafka_security: KafkaSecuritySettings,
    /// The store of a role: `cassandra://HOST:PORT/KEYSPACE` or `sqlite:PATH`.
    pub(crate) store: Option<String>,
    /// How Cassandra is entered.
    pub(crate) cassandra: CassandraSettings,
    /// When a write of the embedded broker and of SQLite counts as durable.
    pub(crate) fsync: Fsync,
    /// Whether tokens are ignored; on loopback only.
    pub(crate) no_auth: bool,
    /// Browser origins that may call the API and connect; `*` is any.
    #[serde(deserialize_with = "values::one_or_many")]
    pub(crate) origins: Vec<String>,
    /// How long a graceful stop may take.
    pub(crate) stop_within_seconds: u64,
    /// The secret that binds page cursors to their tenant, shared by the ingest processes of a cluster.
    pub(crate) page_secret: Option<Secret>,
    /// Days for which notifications are kept.
    pub(crate) retention_days: u32,
    /// Log lines.
    pub(crate) log: LogSettings,
    /// Who is believed.
    pub(crate) auth: AuthSettings,
    /// Topics.
    pub(crate) topics: TopicSettings,
    /// The router.
    pub(crate) router: RouterSettings,
    /// Fanout.
    pub(crate) fanout: FanoutSettings,
}

/// Log lines.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogSettings {
    /// Such as `info,carillon_router=debug`; `null`: `info`, for `up` warnings and the life cycle.
    pub(crate) filter: Option<String>,
    /// For people or for machines.
    pub(crate) format: LogFormat,
}

/// Who is believed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthSettings {
    /// Files with public keys in PEM.
    #[serde(deserialize_with = "values::one_or_many")]
    pub(crate) key_file: Vec<String>,
    /// Files with a JSON Web Key Set.
    #[serde(deserialize_with = "values::one_or_many")]
    pub(crate) jwks: Vec<String>,
    /// A file with a shared secret of at least 32 bytes.
    pub(crate) hs256_secret_file: Option<PathBuf>,
    /// The secret itself: for the environment, never for a flag.
    pub(crate) hs256_secret: Option<Secret>,
    /// The one accepted issuer; `null`: any.
    pub(crate) issuer: Option<String>,
    /// The audience that names this installation.
    pub(crate) audience: Option<String>,
    /// Claims that may hold the tenant.
    #[serde(deserialize_with = "values::one_or_many")]
    pub(crate) tenant_claims: Vec<String>,
    /// Scopes of a token without any; `null`: `publish read listen`, for `up` also `read:tenant`.
    pub(crate) default_scopes: Option<String>,
    /// How far clocks may be apart.
    pub(crate) leeway_seconds: u64,
    /// The longest accepted life of a token.
    pub(crate) max_lifetime_seconds: u64,
}

/// Topics.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicSettings {
    /// What topic names begin with.
    pub(crate) prefix: String,
    /// Copies of each partition; `null`: 3, on the embedded broker 1.
    pub(crate) replication: Option<u16>,
    /// Copies that acknowledge; `null`: 2, with fewer than 3 copies 1.
    pub(crate) min_in_sync: Option<u16>,
    /// Partitions of the notifications topic.
    pub(crate) notifications: u32,
    /// Partitions of the deliveries topic; `null`: 64 with one copy, 256 with more; a role asks Kafka.
    pub(crate) shards: Option<u16>,
    /// Partitions of the dead-letter topic.
    pub(crate) dead_letters: u32,
    /// Partitions of each topic beside the main stream: those of the ladder, of redrives, receipts, commands and
    /// the audit trail.
    pub(crate) beside: u32,
    /// The delays of the ladder, shortest first: a topic each.
    #[serde(with = "values::tiers")]
    pub(crate) retry_tiers: Vec<Tier>,
}

/// The router.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouterSettings {
    /// Its consumer group.
    pub(crate) group: String,
    /// Stable name of this process in time lines; `null`: the host's name.
    pub(crate) node: Option<String>,
    /// Channels whose notifications must not be larger than so much.
    pub(crate) channel_limits: Vec<ChannelLimit>,
}

/// What a channel's policy allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelLimit {
    /// Of which tenant.
    pub(crate) tenant: TenantId,
    /// The channel.
    pub(crate) channel: ChannelName,
    /// Most bytes of an envelope; a larger one becomes a dead letter.
    pub(crate) max_bytes: NonZeroUsize,
}

/// Fanout.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FanoutSettings {
    /// Stable name of this process in time lines; `null`: the host's name.
    pub(crate) node: Option<String>,
}

impl Settings {
    /// Refuses what contradicts itself about the servers to be entered, before anything starts.
    fn check(&self, enters: Enters) -> Result<(), Usage> {
        if enters.kafka {
            self.kafka_security.check()?;
        }
        if enters.cassandra {
            self.cassandra.check()?;
        }
        Ok(())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("carillon-data"),
            listen: None,
            admin_listen: "127.0.0.1:9100".to_owned(),
            kafka_listen: "127.0.0.1:9092".to_owned(),
            kafka_allow_remote: false,
            kafka: "127.0.0.1:9092".to_owned(),
            kafka_security: KafkaSecuritySettings::default(),
            store: None,
            cassandra: CassandraSettings::default(),
            fsync: Fsync::Each,
            no_auth: false,
            origins: Vec::new(),
            stop_within_seconds: 30,
            page_secret: None,
            retention_days: 7,
            log: LogSettings {
                filter: None,
                format: LogFormat::Text,
            },
            auth: AuthSettings::default(),
            topics: TopicSettings::default(),
            router: RouterSettings {
                group: "carillon-router".to_owned(),
                node: None,
                channel_limits: Vec::new(),
            },
            fanout: FanoutSettings::default(),
        }
    }
}

impl Default for AuthSettings {
    fn default() -> Self {
        let auth = carillon_auth::AuthConfig::default();
        Self {
            key_file: Vec::new(),
            jwks: Vec::new(),
            hs256_secret_file: None,
            hs256_secret: None,
            issuer: None,
            audience: None,
            tenant_claims: auth.tenant_claims,
            default_scopes: None,
            leeway_seconds: auth.leeway.as_secs(),
            max_lifetime_seconds: auth.max_lifetime.as_secs(),
        }
    }
}

impl Default for TopicSettings {
    fn default() -> Self {
        let layout = carillon_schemas::topics::Layout::CLUSTER;
        Self {
            prefix: "carillon.".to_owned(),
            replication: None,
            min_in_sync: None,
            notifications: layout.notifications,
            shards: None,
            dead_letters: layout.dead_letters,
            beside: layout.beside,
            retry_tiers: Tier::DEFAULT.to_vec(),
        }
    }
}
