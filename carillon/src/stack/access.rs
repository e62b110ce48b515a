//! Access: whose tokens are believed.
//!
//! In: settings, perhaps a key of one's own. Out: what ingest and fanout ask. Always: nobody is believed
//! without a key, except by `--no-auth`, which holds on loopback only.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use carillon_auth::{Access, AuthConfig, AuthConfigError, KeySource, Verifier};
use carillon_chassis::clock::Clock;
use carillon_schemas::claims::Scopes;

use crate::{
    output::Usage,
    settings::{Settings, secret_file},
};

/// What the settings trust, and `own` beside it.
pub(crate) fn access(
    settings: &Settings,
    own: Option<KeySource>,
    scopes: &str,
    clock: &Clock,
) -> Result<Access> {
    if settings.no_auth {
        return Ok(Access::Open);
    }
    let auth = &settings.auth;
    let scopes = auth.default_scopes.as_deref().unwrap_or(scopes);
    let config = AuthConfig {
        keys: keys(settings, own)?,
        issuer: auth.issuer.clone(),
        audience: auth.audience.clone(),
        tenant_claims: auth.tenant_claims.clone(),
        default_scopes: Scopes::parse(scopes),
        leeway: Duration::from_secs(auth.leeway_seconds),
        max_lifetime: Duration::from_secs(auth.max_lifetime_seconds),
        ..AuthConfig::default()
    };
    match Verifier::new(config, clock.clone()) {
        Ok(verifier) => Ok(Access::Tokens(Arc::new(verifier))),
        Err(AuthConfigError::NoKeys) => Err(Usage(
            "no key to verify tokens with: give --auth-key-file, --auth-jwks or --auth-hs256-secret-file \
             (or --no-auth, on loopback)"
                .to_owned(),
        )
        .into()),
        Err(error) => Err(error).context("the keys that verify tokens cannot be used"),
    }
}

fn keys(settings: &Settings, own: Option<KeySource>) -> Result<Vec<KeySource>> {
    let auth = &settings.auth;
    let mut keys: Vec<KeySource> = own.into_iter().collect();
    keys.extend(
        auth.key_file
            .iter()
            .map(|path| KeySource::PemFile(PathBuf::from(path))),
    );
    for path in &auth.jwks {
        if path.contains("://") {
            return Err(Usage(format!(
                "a key set by URL is not supported yet: save {path} to a file"
            ))
            .into());
        }
        keys.push(KeySource::JwksFile(PathBuf::from(path)));
    }
    if let Some(path) = &auth.hs256_secret_file {
        keys.push(KeySource::Hs256Secret(secret_file(path)?));
    }
    if let Some(secret) = &auth.hs256_secret {
        keys.push(KeySource::Hs256Secret(secret.reveal().as_bytes().to_vec()));
    }
    Ok(keys)
}

/// Refuses `--no-auth` on an address that other machines can reach.
pub(crate) fn require_loopback(settings: &Settings, address: SocketAddr) -> Result<()> {
    if settings.no_auth && !address.ip().is_loopback() {
        return Err(Usage(format!(
            "--no-auth works on loopback addresses only, and {address} can be reached from other machines"
        ))
        .into());
    }
    Ok(())
}
