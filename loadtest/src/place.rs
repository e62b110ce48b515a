//! The place of a run: which Kafka and which store the roles are started on.
//!
//! In: options, or the description that the test cluster's runner leaves. Out: addresses, and a prefix, a
//! consumer group and a keyspace that belong to this run alone. Always: what an option says goes before what
//! the description says.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// What a user may say about the place.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Servers")]
pub struct PlaceArguments {
    /// Kafka's host:port, several separated by commas.
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// The store: sqlite:PATH, or cassandra://host:port, to which the run adds a keyspace of its own.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// A user of Cassandra's who may create keyspaces.
    #[arg(long, value_name = "NAME")]
    pub store_user: Option<String>,
    /// A file with that user's password.
    #[arg(long, value_name = "FILE")]
    pub store_password_file: Option<PathBuf>,
    /// The description of a running test cluster, for what the options above leave open.
    #[arg(long, env = "CARILLON_TEST_CLUSTER", value_name = "FILE")]
    pub cluster: Option<PathBuf>,
}

/// Servers that the roles are started on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Kafka's `host:port`s, separated by commas.
    pub kafka: String,
    /// Where notifications are kept; `None`: a SQLite file beside the logs.
    pub store: Option<StorePlace>,
    /// What tells this run from others: part of topics, group and keyspace.
    pub run: String,
}

/// Where notifications are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePlace {
    /// The URL that the roles are given.
    pub url: String,
    /// User and password.
    pub access: Option<(String, String)>,
}

/// The part of a cluster's description that a client needs.
#[derive(Debug, Deserialize)]
struct Description {
    kafka: Kafka,
    cassandra: Option<Cassandra>,
}

#[derive(Debug, Deserialize)]
struct Kafka {
    plaintext: String,
}

#[derive(Debug, Deserialize)]
struct Cassandra {
    address: String,
    user: String,
    password: String,
}

impl Place {
    /// The place that the arguments name, with a `run` that nothing else uses.
    ///
    /// # Errors
    /// When they name no Kafka, or a file cannot be read.
    pub fn new(arguments: &PlaceArguments, run: &str) -> Result<Self> {
        let described = arguments.cluster.as_deref().map(describe).transpose()?;
        let password = arguments.store_password_file.as_deref().map(|file| {
            std::fs::read_to_string(file)
                .map(|text| text.trim_end().to_owned())
                .with_context(|| format!("reading {}", file.display()))
        });
        let password = password.transpose()?;
        Self::choose(arguments, described, password, run)
    }

    fn choose(
        arguments: &PlaceArguments,
        described: Option<Description>,
        password: Option<String>,
        run: &str,
    ) -> Result<Self> {
        let (kafka, cassandra) = described.map(|d| (d.kafka.plaintext, d.cassandra)).unzip();
        let kafka = arguments.kafka.clone().or(kafka).context(
            "no Kafka: give --kafka HOST:PORT, or run this inside `cluster -- …`, which sets CARILLON_TEST_CLUSTER",
        )?;
        let named = arguments.store.as_ref().map(|url| StorePlace {
            url: with_keyspace(url, run),
            access: arguments.store_user.clone().zip(password),
        });
        let described = cassandra
            .flatten()
            .filter(|cassandra| !cassandra.address.is_empty());
        let described = described.map(|cassandra| StorePlace {
            url: with_keyspace(&format!("cassandra://{}", cassandra.address), run),
            access: Some((cassandra.user, cassandra.password)),
        });
        Ok(Self {
            kafka,
            store: named.or(described),
            run: run.to_owned(),
        })
    }

    /// How many brokers the address names.
    pub fn brokers(&self) -> usize {
        self.kafka.split(',').count()
    }

    /// Copies of each partition: three where there are as many brokers.
    pub fn replication(&self) -> usize {
        self.brokers().min(3)
    }

    /// What the run's topics begin with.
    pub fn prefix(&self) -> String {
        format!("{}.", self.run)
    }

    /// What kind of store it is, for reports.
    pub fn store_kind(&self) -> &'static str {
        match &self.store {
            Some(store) if store.is_cassandra() => "Cassandra",
            _ => "SQLite",
        }
    }
}

impl StorePlace {
    /// Whether it is a cluster with users and keyspaces.
    pub fn is_cassandra(&self) -> bool {
        is_cassandra(&self.url)
    }
}

fn is_cassandra(url: &str) -> bool {
    url.starts_with("cassandra://") || url.starts_with("scylla://")
}

/// A store's URL with the run's keyspace, where it names none and needs one.
fn with_keyspace(url: &str, run: &str) -> String {
    let named = url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    if !is_cassandra(url) || named {
        return url.to_owned();
    }
    format!("{url}/{}", run.replace('-', "_"))
}

fn describe(file: &Path) -> Result<Description> {
    let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} describes no cluster", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described() -> Description {
        serde_json::from_str(
            r#"{"kafka":{"plaintext":"a:1,b:2,c:3","sasl_tls":"a:4"},"ca_file":"ca.pem",
                "cassandra":{"address":"d:5","user":"u","password":"p"}}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_described_cluster_is_the_place_and_the_run_has_a_keyspace_of_its_own() {
        let place = Place::choose(&PlaceArguments::default(), Some(described()), None, "bench-7").unwrap();
        let store = place.store.as_ref().unwrap();
        assert_eq!(store.url, "cassandra://d:5/bench_7");
        assert_eq!(store.access, Some(("u".to_owned(), "p".to_owned())));
        assert_eq!((place.brokers(), place.replication()), (3, 3));
        assert_eq!(place.prefix(), "bench-7.");
        assert_eq!(place.store_kind(), "Cassandra");
    }

    #[test]
    fn options_go_before_the_description() {
        let arguments = PlaceArguments {
            kafka: Some("e:6".to_owned()),
            store: Some("sqlite:x.db".to_owned()),
            ..PlaceArguments::default()
        };
        let place = Place::choose(&arguments, Some(described()), None, "bench-7").unwrap();
        assert_eq!((place.kafka.as_str(), place.replication()), ("e:6", 1));
        let store = place.store.as_ref().unwrap();
        assert_eq!((store.url.as_str(), &store.access), ("sqlite:x.db", &None));
        assert_eq!(place.store_kind(), "SQLite");
    }

    #[test]
    fn a_cluster_without_cassandra_leaves_the_store_to_the_run() {
        let mut described = described();
        described.cassandra.as_mut().unwrap().address.clear();
        let place = Place::choose(&PlaceArguments::default(), Some(described), None, "bench-7").unwrap();
        assert_eq!((&place.store, place.store_kind()), (&None, "SQLite"));
    }

    #[test]
    fn no_kafka_is_an_error_that_says_what_to_do() {
        let error = Place::choose(&PlaceArguments::default(), None, None, "bench-7").unwrap_err();
        assert!(error.to_string().contains("--kafka"), "{error}");
    }

    #[test]
    fn a_keyspace_is_added_only_where_none_is_named() {
        assert_eq!(with_keyspace("cassandra://a,b:9", "x-1"), "cassandra://a,b:9/x_1");
        assert_eq!(with_keyspace("scylla://a/mine", "x-1"), "scylla://a/mine");
        assert_eq!(with_keyspace("sqlite:/tmp/x", "x-1"), "sqlite:/tmp/x");
    }
}
