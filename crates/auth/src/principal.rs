//! The principal: who acts, for which tenant, and what they may do.
//!
//! In: the claims of a verified token. Out: questions answered.
//! Always: the fields are private, so that only verification (or `--no-auth`, by name) makes one.

use std::sync::Arc;

use carillon_schemas::{
    ChannelName, TenantId, UserId,
    claims::{Scope, Scopes},
};

use crate::channels::ChannelPattern;

/// Who acts. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal(Arc<Facts>);

/// What a verified token said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) tenant: TenantId,
    pub(crate) subject: UserId,
    pub(crate) scopes: Scopes,
    /// `None` reaches every channel of the tenant.
    pub(crate) channels: Option<Box<[ChannelPattern]>>,
    /// Unix seconds.
    pub(crate) expires: u64,
    pub(crate) jti: Option<Box<str>>,
}

impl Principal {
    pub(crate) fn new(facts: Facts) -> Self {
        Self(Arc::new(facts))
    }

    /// Somebody who was not asked for a token (`--no-auth`): every scope but `platform`, every channel, and
    /// no expiry (`u64::MAX`).
    pub fn unauthenticated(tenant: TenantId, subject: UserId) -> Self {
        Self::new(Facts {
            tenant,
            subject,
            scopes: Scopes::of(&Scope::ALL).without(Scope::Platform),
            channels: None,
            expires: u64::MAX,
            jti: None,
        })
    }

    #[cfg(test)]
    pub(crate) fn ending_at(tenant: TenantId, subject: UserId, expires: u64) -> Self {
        Self::new(Facts {
            tenant,
            subject,
            scopes: Scopes::NONE,
            channels: None,
            expires,
            jti: None,
        })
    }

    /// The tenant that is acted for.
    pub fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    /// Who acts.
    pub fn subject(&self) -> &UserId {
        &self.0.subject
    }

    /// Whether this scope was given.
    pub fn has(&self, scope: Scope) -> bool {
        self.0.scopes.has(scope)
    }

    /// All scopes that were given.
    pub fn scopes(&self) -> Scopes {
        self.0.scopes
    }

    /// Whether this channel of the own tenant is among those that the token reaches.
    pub fn may_reach(&self, channel: &ChannelName) -> bool {
        match &self.0.channels {
            None => true,
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(channel)),
        }
    }

    /// When the token ends, in Unix seconds, without leeway.
    pub fn expires(&self) -> u64 {
        self.0.expires
    }

    /// The token's own id, by which it can be revoked.
    pub fn jti(&self) -> Option<&str> {
        self.0.jti.as_deref()
    }
}
