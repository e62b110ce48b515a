//! Claims and scopes: what a token says.
//!
//! In: a token's `scope` text. Out: a set of known scopes.
//! Always: an unknown scope gives nothing; `platform` is never a default.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names of the claim that may hold the tenant, in the order in which they are looked for.
pub const TENANT_CLAIMS: [&str; 3] = ["tenant_id", "tid", "tenantId"];

/// What a principal may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Scope {
    /// Submit notifications.
    Publish = 1,
    /// Read what is addressed to one's own subject and permitted channels.
    Read = 1 << 1,
    /// Read everything of the own tenant.
    ReadTenant = 1 << 2,
    /// Connect and subscribe.
    Listen = 1 << 3,
    /// Dead letters and redrive.
    Operate = 1 << 4,
    /// Accounts and keys of the own tenant.
    Admin = 1 << 5,
    /// All tenants; only in tokens of the operator's issuer.
    Platform = 1 << 6,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 7] = [
        Self::Publish,
        Self::Read,
        Self::ReadTenant,
        Self::Listen,
        Self::Operate,
        Self::Admin,
        Self::Platform,
    ];

    /// The scope as a token writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::ReadTenant => "read:tenant",
            Self::Listen => "listen",
            Self::Operate => "operate",
            Self::Admin => "admin",
            Self::Platform => "platform",
        }
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// No scope.
    pub const NONE: Self = Self(0);

    /// The set of these scopes.
    pub fn of(scopes: &[Scope]) -> Self {
        Self(scopes.iter().fold(0, |bits, s| bits | *s as u8))
    }

    /// From a token's text: scopes separated by spaces; unknown ones are left out.
    pub fn parse(text: &str) -> Self {
        let known = text
            .split_ascii_whitespace()
            .filter_map(|word| Scope::ALL.into_iter().find(|s| s.as_str() == word));
        Self(known.fold(0, |bits, s| bits | s as u8))
    }

    /// Whether the scope is in the set.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & scope as u8 != 0
    }

    /// The set without this scope.
    pub fn without(self, scope: Scope) -> Self {
        Self(self.0 & !(scope as u8))
    }

    /// The scopes in the set.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |s| self.has(*s))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, scope) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

/// The claims that we mint. Verification reads tokens of other issuers, which may have more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The tenant.
    pub tenant_id: String,
    /// The subject: who acts.
    pub sub: String,
    /// Issued at, Unix seconds.
    pub iat: u64,
    /// Not before, Unix seconds.
    pub nbf: u64,
    /// Expires, Unix seconds.
    pub exp: u64,
    /// Scopes separated by spaces; without it the configured default scopes hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// The token's id, for revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Channel patterns (`orders.*` has one trailing level) that the token reaches; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_back_what_they_write_and_ignore_the_unknown() {
        let scopes = Scopes::parse("publish read:tenant fly");
        assert!(scopes.has(Scope::Publish) && scopes.has(Scope::ReadTenant));
        assert!(!scopes.has(Scope::Read) && !scopes.has(Scope::Platform));
        assert_eq!(scopes.to_string(), "publish read:tenant");
    }
}
