//! Security: how connections to Kafka are encrypted and who this process says it is.
//!
//! In: a protocol, certificates, a user. Out: librdkafka's settings, the same for every client. Always: a
//! combination that cannot work is refused before anything starts; no error and no log has the password.

use carillon_chassis::secret::Secret;
use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};

use crate::BusError;

/// Whether this build has TLS and SASL.
pub const TLS_BUILT_IN: bool = cfg!(feature = "tls");

/// How this process connects to Kafka. The default is plain text without a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Encrypted or not, with a user or without.
    pub protocol: Protocol,
    /// The authorities whose brokers are trusted, in PEM. None: those of the system. Only with TLS.
    pub ca: Option<String>,
    /// The user. Needed by a protocol with SASL, refused by others.
    pub sasl: Option<Sasl>,
    /// The certificate that this process shows to brokers that ask for one. Only with TLS.
    pub certificate: Option<ClientCertificate>,
}

/// What Kafka calls the security protocol of a listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Neither encrypted nor authenticated.
    #[default]
    Plaintext,
    /// Encrypted (Kafka's `SSL`).
    Tls,
    /// A user, and nothing encrypted.
    SaslPlaintext,
    /// A user, encrypted (Kafka's `SASL_SSL`).
    SaslTls,
}

/// How a user proves who they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// RFC 5802 with SHA-512.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// The same with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The password itself: only over TLS is that a good idea.
    #[serde(rename = "PLAIN")]
    Plain,
}

/// A user of Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How the password is proved.
    pub mechanism: Mechanism,
    /// The name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// A certificate of this process, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate and those between it and its authority, in PEM.
    pub certificate: String,
    /// The private key, in PEM, not encrypted.
    pub key: Secret,
}

impl Protocol {
    /// Whether connections are encrypted.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::SaslTls)
    }

    /// Whether there is a user.
    pub fn has_user(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslTls)
    }

    /// Kafka's own name for it.
    pub fn as_kafka_names_it(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Tls => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslTls => "SASL_SSL",
        }
    }
}

impl Mechanism {
    /// Its registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
        }
    }
}

impl Security {
    /// Whether this can work in this build. Every client asks this itself before it starts.
    ///
    /// # Errors
    /// [`BusError::Client`] with what is missing, what does not fit, or that this build has no TLS.
    pub fn check(&self) -> Result<(), BusError> {
        let name = self.protocol.as_kafka_names_it();
        let encrypted = self.protocol.is_encrypted();
        let problem = match &self.sasl {
            _ if self.protocol != Protocol::Plaintext && !TLS_BUILT_IN => format!(
                "this build has no TLS: {name} needs a build with the feature `tls`, which SASL needs too"
            ),
            None if self.protocol.has_user() => format!("{name} needs a user and a password"),
            Some(_) if !self.protocol.has_user() => {
                format!("{name} has no users: choose a protocol with SASL")
            }
            Some(sasl) if sasl.user.is_empty() || sasl.password.reveal().is_empty() => {
                format!("{name} needs a user and a password, and one of them is empty")
            }
            _ if self.ca.is_some() && !encrypted => format!("{name} is not encrypted and takes no authority"),
            _ if self.certificate.is_some() && !encrypted => {
                format!("{name} is not encrypted and takes no certificate")
            }
            _ => return Ok(()),
        };
        Err(BusError::Client(problem))
    }

    /// Adds what librdkafka has to know.
    pub(crate) fn apply(&self, settings: &mut ClientConfig) -> Result<(), BusError> {
        self.check()?;
        if self.protocol == Protocol::Plaintext {
            return Ok(());
        }
        settings.set("security.protocol", self.protocol.as_kafka_names_it());
        if self.protocol.is_encrypted() {
            match &self.ca {
                Some(pem) => settings.set("ssl.ca.pem", pem),
                // OpenSSL is linked in and knows no directory of its own: the usual ones are tried.
                None => settings.set("ssl.ca.location", "probe"),
            };
            settings
                .set("enable.ssl.certificate.verification", "true")
                .set("ssl.endpoint.identification.algorithm", "https");
        }
        if let Some(own) = &self.certificate {
            settings
                .set("ssl.certificate.pem", &own.certificate)
                .set("ssl.key.pem", own.key.reveal());
        }
        if let Some(sasl) = &self.sasl {
            settings
                .set("sasl.mechanism", sasl.mechanism.as_str())
                .set("sasl.username", &sasl.user)
                .set("sasl.password", sasl.password.reveal());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sasl() -> Sasl {
        Sasl {
            mechanism: Mechanism::default(),
            user: "carillon".to_owned(),
            password: Secret::new("hunter2"),
        }
    }

    fn problem(security: &Security) -> String {
        security.check().unwrap_err().to_string()
    }

    #[test]
    fn the_default_asks_for_nothing_and_works_in_every_build() {
        assert_eq!(Security::default().check(), Ok(()));
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn a_build_without_tls_says_so_when_it_is_asked_for() {
        for protocol in [Protocol::Tls, Protocol::SaslPlaintext, Protocol::SaslTls] {
            let security = Security {
                protocol,
                sasl: protocol.has_user().then(sasl),
                ..Security::default()
            };
            assert!(problem(&security).contains("this build has no TLS"));
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn what_does_not_fit_together_is_refused_in_words() {
        let with = |protocol, sasl| Security {
            protocol,
            sasl,
            ..Security::default()
        };
        assert!(problem(&with(Protocol::SaslTls, None)).contains("SASL_SSL needs a user and a password"));
        assert!(problem(&with(Protocol::Tls, Some(sasl()))).contains("SSL has no users"));
        let nobody = Sasl {
            user: String::new(),
            ..sasl()
        };
        assert!(problem(&with(Protocol::SaslPlaintext, Some(nobody))).contains("one of them is empty"));
        let trusting = Security {
            ca: Some("pem".to_owned()),
            ..Security::default()
        };
        assert!(problem(&trusting).contains("takes no authority"));
        assert_eq!(with(Protocol::SaslTls, Some(sasl())).check(), Ok(()));
    }

    #[test]
    fn neither_a_password_nor_a_key_is_ever_printed() {
        let security = Security {
            protocol: Protocol::SaslTls,
            ca: None,
            sasl: Some(sasl()),
            certificate: Some(ClientCertificate {
                certificate: "public".to_owned(),
                key: Secret::new("hunter2"),
            }),
        };
        let mut config = crate::BusConfig::new("127.0.0.1:1");
        config.security = security;
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
