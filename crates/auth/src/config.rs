//! Configuration of the verifier: which keys are trusted, and what a token must say.
//!
//! In: what the command line and files said. Out: values for [`crate::Verifier::new`].
//! Always: a secret is never printed.

use std::{fmt, path::PathBuf, time::Duration};

use carillon_schemas::claims::{Scope, Scopes, TENANT_CLAIMS};

/// What is trusted, and what a token must say.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// Keys of everybody but the operator. A token is checked with those of its algorithm's family.
    pub keys: Vec<KeySource>,
    /// The one accepted `iss` beside the operator's. `None`: any, or none at all.
    pub issuer: Option<String>,
    /// The `aud` that names us. `None`: only tokens without `aud` are accepted, for a token that names
    /// an audience must be refused by whoever does not know to be meant (RFC 7519, 4.1.3).
    pub audience: Option<String>,
    /// Claims that may hold the tenant: the first one present counts, even when its value is bad.
    pub tenant_claims: Vec<String>,
    /// Scopes of a token without a `scope` claim. `platform` is left out of them.
    pub default_scopes: Scopes,
    /// How far the clocks of issuer and verifier may be apart.
    pub leeway: Duration,
    /// Longest accepted life of a token, from `iat` (or `nbf`, or now) to `exp`.
    pub max_lifetime: Duration,
    /// The issuer whose tokens may carry `platform`; they are checked with `operator_keys` and no others.
    pub operator_issuer: Option<String>,
    /// Keys of the operator's issuer: needed with `operator_issuer` and meaningless without it.
    pub operator_keys: Vec<KeySource>,
}

impl Default for AuthConfig {
    /// A cluster's defaults, without any key: scopes `publish read listen`, 5 s leeway, 24 h at most.
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            issuer: None,
            audience: None,
            tenant_claims: TENANT_CLAIMS.map(String::from).to_vec(),
            default_scopes: Scopes::of(&[Scope::Publish, Scope::Read, Scope::Listen]),
            leeway: Duration::from_secs(5),
            max_lifetime: Duration::from_hours(24),
            operator_issuer: None,
            operator_keys: Vec::new(),
        }
    }
}

/// Where keys come from. Files are watched: when one changes it is read again, and a broken one changes nothing.
#[derive(Clone)]
pub enum KeySource {
    /// A file with one or more public keys in PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`), at most 64 KiB.
    PemFile(PathBuf),
    /// A file with a JSON Web Key Set, at most 64 KiB.
    JwksFile(PathBuf),
    /// A shared secret of at least 32 bytes, for development.
    Hs256Secret(Vec<u8>),
    /// A JSON Web Key Set as text.
    Jwks(String),
    /// Public keys in PEM as text.
    Pem(String),
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PemFile(path) => f.debug_tuple("PemFile").field(path).finish(),
            Self::JwksFile(path) => f.debug_tuple("JwksFile").field(path).finish(),
            Self::Hs256Secret(_) => f.write_str("Hs256Secret(***)"),
            Self::Jwks(_) => f.write_str("Jwks(***)"),
            Self::Pem(_) => f.write_str("Pem(***)"),
        }
    }
}
