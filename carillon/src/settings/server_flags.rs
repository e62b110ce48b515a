//! Flags of the way into Kafka and Cassandra.
//!
//! In: parsed arguments. Out: pairs of key and value, and that the command enters this server. Always: no flag
//! holds a secret, because a process's arguments can be read by everybody on its machine.

use std::path::PathBuf;

use clap::Args;

use super::Pairs;

/// How Kafka is entered.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Kafka, encrypted or with a user")]
pub(crate) struct KafkaSecurityFlags {
    /// How the brokers are spoken to, as their listener asks [default: plaintext].
    #[arg(long, value_name = "PROTOCOL", value_parser = ["plaintext", "tls", "sasl_plaintext", "sasl_tls"])]
    pub(crate) kafka_security_protocol: Option<String>,
    /// Authorities that sign the brokers' certificates [default: the system's].
    #[arg(long, value_name = "PEM")]
    pub(crate) kafka_security_ca_file: Option<PathBuf>,
    /// How the password is proved [default: SCRAM-SHA-512].
    #[arg(long, value_name = "MECHANISM", value_parser = ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])]
    pub(crate) kafka_security_mechanism: Option<String>,
    /// The user of a SASL protocol.
    #[arg(long, value_name = "NAME")]
    pub(crate) kafka_security_user: Option<String>,
    /// A file with the user's password (or CARILLON_KAFKA_SECURITY_PASSWORD).
    #[arg(long, value_name = "FILE")]
    pub(crate) kafka_security_password_file: Option<PathBuf>,
    /// A certificate that says who we are, for brokers that ask for one.
    #[arg(long, value_name = "PEM")]
    pub(crate) kafka_security_certificate_file: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long, value_name = "PEM")]
    pub(crate) kafka_security_key_file: Option<PathBuf>,
}

impl KafkaSecurityFlags {
    pub(super) fn push(&self, pairs: &mut Pairs) {
        pairs.enters_kafka();
        pairs.text("kafka_security.protocol", self.kafka_security_protocol.as_ref());
        pairs.path("kafka_security.ca_file", self.kafka_security_ca_file.as_deref());
        pairs.text("kafka_security.mechanism", self.kafka_security_mechanism.as_ref());
        pairs.text("kafka_security.user", self.kafka_security_user.as_ref());
        let password = self.kafka_security_password_file.as_deref();
        pairs.path("kafka_security.password_file", password);
        let certificate = self.kafka_security_certificate_file.as_deref();
        pairs.path("kafka_security.certificate_file", certificate);
        pairs.path("kafka_security.key_file", self.kafka_security_key_file.as_deref());
    }
}

/// How Cassandra or ScyllaDB is entered.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Cassandra or ScyllaDB")]
pub(crate) struct CassandraFlags {
    /// The user; none where the servers ask for none.
    #[arg(long, value_name = "NAME")]
    pub(crate) cassandra_user: Option<String>,
    /// A file with the user's password (or CARILLON_CASSANDRA_PASSWORD).
    #[arg(long, value_name = "FILE")]
    pub(crate) cassandra_password_file: Option<PathBuf>,
    /// Encrypt the connections.
    #[arg(long)]
    pub(crate) cassandra_tls: bool,
    /// Authorities that sign the servers' certificates [default: the system's].
    #[arg(long, value_name = "PEM")]
    pub(crate) cassandra_ca_file: Option<PathBuf>,
    /// The datacenter of this process: its servers are asked, others when none of them answers [default: all].
    #[arg(long, value_name = "NAME")]
    pub(crate) cassandra_datacenter: Option<String>,
    /// Copies of each row in each datacenter, when `carillon store migrate` makes the keyspace [default: 3].
    #[arg(long, value_name = "N")]
    pub(crate) cassandra_replication: Option<u16>,
}

impl CassandraFlags {
    pub(super) fn push(&self, pairs: &mut Pairs) {
        pairs.enters_cassandra();
        pairs.text("cassandra.user", self.cassandra_user.as_ref());
        let password = self.cassandra_password_file.as_deref();
        pairs.path("cassandra.password_file", password);
        pairs.set("cassandra.tls", self.cassandra_tls);
        pairs.path("cassandra.ca_file", self.cassandra_ca_file.as_deref());
        pairs.text("cassandra.datacenter", self.cassandra_datacenter.as_ref());
        pairs.number("cassandra.replication", self.cassandra_replication);
    }
}
