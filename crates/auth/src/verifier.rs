//! The verifier: from a token's text to a principal, on one screen.
//!
//! In: configuration, then tokens from anybody. Out: principals, or refusals.
//! Always: a token is taken apart, its signature checked with a key of ours, its claims judged, in that order;
//! a remembered token skips all three, but not its expiry, nor a change of the keys.

use std::{fmt, sync::Arc};

use carillon_chassis::clock::Clock;
use sha2::{Digest, Sha256};

use crate::{
    AuthConfig, AuthConfigError, AuthError, Principal,
    cache::Cache,
    keys::ring::KeyRing,
    rules::Rules,
    token::{self, Token},
};

/// Turns tokens into principals. `Send + Sync`: share it as an `Arc`.
pub struct Verifier {
    rules: Rules,
    ring: Arc<KeyRing>,
    cache: Cache,
    clock: Clock,
}

impl Verifier {
    /// A verifier of this configuration. Reads the key files; later changes to them are found by itself,
    /// within three seconds and without making any verification wait.
    ///
    /// # Errors
    /// [`AuthConfigError`] when a key cannot be used or the parts contradict each other.
    pub fn new(mut config: AuthConfig, clock: Clock) -> Result<Self, AuthConfigError> {
        check(&config)?;
        let keys = std::mem::take(&mut config.keys);
        let operator = std::mem::take(&mut config.operator_keys);
        Ok(Self {
            ring: Arc::new(KeyRing::open(keys, operator, clock.unix_ms())?),
            rules: Rules::new(config),
            cache: Cache::new(),
            clock,
        })
    }

    /// The principal that this token speaks for. Remembered by the token's hash until it ends.
    ///
    /// # Errors
    /// [`AuthError`] says which rule the token breaks.
    pub fn verify(&self, token: &str) -> Result<Principal, AuthError> {
        token::check_length(token)?;
        let now_ms = self.clock.unix_ms();
        self.ring.look_if_due(now_ms);
        let now = now_ms / 1000;
        let hash = Sha256::digest(token.as_bytes()).into();
        if let Some(principal) = self.cache.get(&hash, self.ring.generation()) {
            if self.rules.is_over(principal.expires(), now) {
                return Err(AuthError::Expired);
            }
            return Ok(principal);
        }
        let keys = self.ring.current();
        let token = Token::parse(token)?;
        let owner = self.rules.owner(&token.claims)?;
        keys.verify(owner, &token)?;
        let principal = Principal::new(self.rules.judge(&token.claims, owner, now)?);
        let is_over = |expires| self.rules.is_over(expires, now);
        self.cache.put(hash, keys.generation, principal.clone(), is_over);
        Ok(principal)
    }
}

fn check(config: &AuthConfig) -> Result<(), AuthConfigError> {
    if config.keys.is_empty() {
        return Err(AuthConfigError::NoKeys);
    }
    if config.tenant_claims.is_empty() {
        return Err(AuthConfigError::NoTenantClaim);
    }
    match (&config.operator_issuer, config.operator_keys.is_empty()) {
        (Some(_), true) => Err(AuthConfigError::OperatorWithoutKeys),
        (None, false) => Err(AuthConfigError::OperatorWithoutIssuer),
        (Some(_), false) if config.operator_issuer == config.issuer => {
            Err(AuthConfigError::OperatorIsEverybody)
        }
        _ => Ok(()),
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("rules", &self.rules)
            .field("ring", &self.ring)
            .finish_non_exhaustive()
    }
}
