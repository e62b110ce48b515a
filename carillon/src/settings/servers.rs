//! Settings of the servers that a cluster's roles stand on: how Kafka and Cassandra are entered.
//!
//! In: what a file, a variable or a flag says. Out: a way in, checked as a whole.
//! Always: what contradicts itself is refused before anything starts, in words that name the flags; a secret
//! is read once, by one function, and printed by none.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use carillon_bus::{ClientCertificate, Mechanism, Protocol, Sasl, Security};
use carillon_chassis::secret::Secret;
use carillon_store::{CassandraOptions, CassandraTls};
use serde::{Deserialize, Serialize};

use super::secret_file;
use crate::output::Usage;

/// The way into Kafka.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KafkaSecuritySettings {
    /// Encryption and authentication.
    pub(crate) protocol: Protocol,
    /// Authorities in PEM that sign the brokers' certificates; `null`: those of the system.
    pub(crate) ca_file: Option<PathBuf>,
    /// How the password is proved.
    pub(crate) mechanism: Mechanism,
    /// Who we are.
    pub(crate) user: Option<String>,
    /// A file with the password.
    pub(crate) password_file: Option<PathBuf>,
    /// The password itself: for the environment, never for a flag.
    pub(crate) password: Option<Secret>,
    /// A certificate in PEM that says who we are.
    pub(crate) certificate_file: Option<PathBuf>,
    /// Its key in PEM.
    pub(crate) key_file: Option<PathBuf>,
}

/// The way into Cassandra or ScyllaDB; the addresses and the keyspace are in the store's URL.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CassandraSettings {
    /// Who we are.
    pub(crate) user: Option<String>,
    /// A file with the password.
    pub(crate) password_file: Option<PathBuf>,
    /// The password itself: for the environment, never for a flag.
    pub(crate) password: Option<Secret>,
    /// Whether the connections are encrypted.
    pub(crate) tls: bool,
    /// Authorities in PEM that sign the servers' certificates; `null`: those of the system.
    pub(crate) ca_file: Option<PathBuf>,
    /// The datacenter of this process, whose servers are asked first; `null`: all alike.
    pub(crate) datacenter: Option<String>,
    /// Copies of each row in each datacenter, for `carillon store migrate`; `null`: 3.
    pub(crate) replication: Option<u16>,
}

impl Default for KafkaSecuritySettings {
    fn default() -> Self {
        Self {
            protocol: Protocol::Plaintext,
            ca_file: None,
            mechanism: Mechanism::ScramSha512,
            user: None,
            password_file: None,
            password: None,
            certificate_file: None,
            key_file: None,
        }
    }
}

impl KafkaSecuritySettings {
    /// Refuses what contradicts itself.
    pub(super) fn check(&self) -> Result<(), Usage> {
        let protocol = self.protocol;
        let password = one_password(
            "kafka-security",
            self.password_file.as_deref(),
            self.password.as_ref(),
        )?;
        whole("kafka-security", self.user.as_deref(), password)?;
        if self.user.is_some() && !protocol.has_user() {
            return refuse(
                "--kafka-security-user and its password are for --kafka-security-protocol sasl_tls (or sasl_plaintext)",
            );
        }
        if self.user.is_none() && protocol.has_user() {
            return refuse(
                "this --kafka-security-protocol needs --kafka-security-user and --kafka-security-password-file \
                 (or CARILLON_KAFKA_SECURITY_PASSWORD)",
            );
        }
        let certificates = [&self.ca_file, &self.certificate_file, &self.key_file];
        if certificates.iter().any(|file| file.is_some()) && !protocol.is_encrypted() {
            return refuse(
                "--kafka-security-ca-file, -certificate-file and -key-file are for --kafka-security-protocol tls or sasl_tls",
            );
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return refuse("--kafka-security-certificate-file and --kafka-security-key-file go together");
        }
        if protocol != Protocol::Plaintext && !carillon_bus::security::TLS_BUILT_IN {
            return refuse(
                "this build speaks neither TLS nor SASL to Kafka: build it with `--features tls`, or use \
                 --kafka-security-protocol plaintext",
            );
        }
        Ok(())
    }

    /// The way in, with what its files hold.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn open(&self) -> Result<Security> {
        let password = secret(self.password_file.as_deref(), self.password.as_ref())?;
        let sasl = self.user.clone().zip(password).map(|(user, password)| Sasl {
            mechanism: self.mechanism,
            user,
            password,
        });
        let certificate = match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => Some(ClientCertificate {
                certificate: pem(certificate)?,
                key: Secret::new(pem(key)?),
            }),
            _ => None,
        };
        Ok(Security {
            protocol: self.protocol,
            ca: self.ca_file.as_deref().map(pem).transpose()?,
            sasl,
            certificate,
        })
    }
}

impl CassandraSettings {
    /// Refuses what contradicts itself.
    pub(super) fn check(&self) -> Result<(), Usage> {
        let password = one_password("cassandra", self.password_file.as_deref(), self.password.as_ref())?;
        whole("cassandra", self.user.as_deref(), password)?;
        if self.ca_file.is_some() && !self.tls {
            return refuse("--cassandra-ca-file is for --cassandra-tls: give both");
        }
        if self.tls && !cfg!(feature = "tls") {
            return refuse("this build speaks no TLS to Cassandra: build it with `--features tls`");
        }
        if self.replication == Some(0) {
            return refuse("--cassandra-replication is the number of copies of each row: at least 1");
        }
        Ok(())
    }

    /// The way in, with what its files hold.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn open(&self) -> Result<CassandraOptions> {
        let defaults = CassandraOptions::default();
        Ok(CassandraOptions {
            user: self.user.clone(),
            password: secret(self.password_file.as_deref(), self.password.as_ref())?,
            tls: self.tls.then(|| CassandraTls {
                ca_file: self.ca_file.clone(),
            }),
            datacenter: self.datacenter.clone(),
            replication: self.replication.unwrap_or(defaults.replication),
            ..defaults
        })
    }
}

fn refuse(text: &str) -> Result<(), Usage> {
    Err(Usage(text.to_owned()))
}

/// Whether there is a password. Two are one too many.
fn one_password(group: &str, file: Option<&Path>, text: Option<&Secret>) -> Result<bool, Usage> {
    if file.is_some() && text.is_some() {
        let variable = group.replace('-', "_").to_uppercase();
        return Err(Usage(format!(
            "two passwords: give either --{group}-password-file or CARILLON_{variable}_PASSWORD"
        )));
    }
    Ok(file.is_some() || text.is_some())
}

/// A user and a password go together.
fn whole(group: &str, user: Option<&str>, password: bool) -> Result<(), Usage> {
    let variable = group.replace('-', "_").to_uppercase();
    match (user, password) {
        (None, true) => Err(Usage(format!("a password without a user: give --{group}-user"))),
        (Some(user), false) => Err(Usage(format!(
            "no password for the user {user}: give --{group}-password-file or CARILLON_{variable}_PASSWORD"
        ))),
        _ => Ok(()),
    }
}

fn pem(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn secret(file: Option<&Path>, text: Option<&Secret>) -> Result<Option<Secret>> {
    let Some(file) = file else {
        return Ok(text.cloned());
    };
    let text = String::from_utf8(secret_file(file)?)
        .map_err(|_| Usage(format!("the password in {} is not UTF-8", file.display())))?;
    if text.is_empty() {
        return Err(Usage(format!("the password file {} is empty", file.display())).into());
    }
    Ok(Some(Secret::new(text)))
}
