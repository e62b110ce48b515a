//! The rules for claims: what a token whose signature holds must say.
//!
//! In: claims, whose keys vouched for them, and the time. Out: the facts of a principal.
//! Always: pure; a claim that is there in the wrong type refuses the token instead of counting as absent.

use carillon_schemas::claims::{Scope, Scopes};
use serde_json::Value;

use crate::{
    AuthConfig, AuthError,
    channels::{ChannelPattern, MAX_PATTERNS},
    keys::ring::Owner,
    object::Object,
    principal::Facts,
};

/// What is asked of claims.
#[derive(Debug)]
pub(crate) struct Rules {
    issuer: Option<String>,
    audience: Option<String>,
    tenant_claims: Vec<String>,
    default_scopes: Scopes,
    leeway_s: u64,
    max_lifetime_s: u64,
    operator_issuer: Option<String>,
}

impl Rules {
    pub(crate) fn new(config: AuthConfig) -> Self {
        Self {
            issuer: config.issuer,
            audience: config.audience,
            tenant_claims: config.tenant_claims,
            default_scopes: config.default_scopes.without(Scope::Platform),
            leeway_s: config.leeway.as_secs(),
            max_lifetime_s: config.max_lifetime.as_secs(),
            operator_issuer: config.operator_issuer,
        }
    }

    /// Whose keys must have signed a token with these claims.
    pub(crate) fn owner(&self, claims: &Object) -> Result<Owner, AuthError> {
        let issuer = claims.text("iss")?;
        if issuer.is_some() && issuer == self.operator_issuer.as_deref() {
            return Ok(Owner::Operator);
        }
        match (&self.issuer, issuer) {
            (None, _) => Ok(Owner::Everybody),
            (Some(_), None) => Err(AuthError::MissingClaim("iss")),
            (Some(wanted), Some(issuer)) if wanted == issuer => Ok(Owner::Everybody),
            (Some(_), Some(_)) => Err(AuthError::Issuer),
        }
    }

    /// The facts of the principal, if every rule is kept at this moment (Unix seconds).
    pub(crate) fn judge(&self, claims: &Object, owner: Owner, now: u64) -> Result<Facts, AuthError> {
        let expires = self.check_times(claims, now)?;
        self.check_audience(claims)?;
        let subject = claims.text("sub")?.ok_or(AuthError::MissingClaim("sub"))?;
        Ok(Facts {
            tenant: self.tenant(claims)?.parse().map_err(AuthError::Tenant)?,
            subject: subject.parse().map_err(AuthError::Subject)?,
            scopes: self.scopes(claims, owner)?,
            channels: channels(claims)?,
            expires,
            jti: claims.text("jti")?.map(Box::from),
        })
    }

    /// Whether a token that ends then has ended.
    pub(crate) fn is_over(&self, expires: u64, now: u64) -> bool {
        now >= expires.saturating_add(self.leeway_s)
    }

    fn check_times(&self, claims: &Object, now: u64) -> Result<u64, AuthError> {
        let expires = claims.seconds("exp")?.ok_or(AuthError::MissingClaim("exp"))?;
        let not_before = claims.seconds("nbf")?;
        let issued = claims.seconds("iat")?;
        let latest = now.saturating_add(self.leeway_s);
        if self.is_over(expires, now) {
            return Err(AuthError::Expired);
        }
        if not_before.is_some_and(|moment| moment > latest) {
            return Err(AuthError::NotYetValid);
        }
        if issued.is_some_and(|moment| moment > latest) {
            return Err(AuthError::IssuedInFuture);
        }
        let begins = issued.or(not_before).unwrap_or(now);
        if expires.saturating_sub(begins) > self.max_lifetime_s {
            return Err(AuthError::LifetimeTooLong);
        }
        Ok(expires)
    }

    fn check_audience(&self, claims: &Object) -> Result<(), AuthError> {
        let named = match claims.get("aud") {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) => many
                .iter()
                .map(|one| one.as_str().ok_or(AuthError::ClaimType("aud")))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(AuthError::ClaimType("aud")),
        };
        match (&self.audience, claims.get("aud")) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(AuthError::MissingClaim("aud")),
            (Some(us), Some(_)) if named.contains(&us.as_str()) => Ok(()),
            _ => Err(AuthError::Audience),
        }
    }

    fn tenant<'c>(&self, claims: &'c Object) -> Result<&'c str, AuthError> {
        let present = self.tenant_claims.iter().find_map(|name| claims.get(name));
        match present {
            None => Err(AuthError::MissingClaim("tenant")),
            Some(Value::String(tenant)) => Ok(tenant),
            Some(_) => Err(AuthError::ClaimType("tenant")),
        }
    }

    fn scopes(&self, claims: &Object, owner: Owner) -> Result<Scopes, AuthError> {
        let scopes = match claims.text("scope")? {
            Some(text) => Scopes::parse(text),
            None => self.default_scopes,
        };
        Ok(match owner {
            Owner::Operator => scopes,
            Owner::Everybody => scopes.without(Scope::Platform),
        })
    }
}

fn channels(claims: &Object) -> Result<Option<Box<[ChannelPattern]>>, AuthError> {
    let entries = match claims.get("channels") {
        None => return Ok(None),
        Some(Value::Array(entries)) if entries.len() <= MAX_PATTERNS => entries,
        Some(_) => return Err(AuthError::Channels),
    };
    let patterns = entries
        .iter()
        .map(|entry| entry.as_str().and_then(ChannelPattern::parse));
    let patterns = patterns.collect::<Option<Box<[_]>>>();
    patterns.map(Some).ok_or(AuthError::Channels)
}
