//! Principals: who calls, and for which tenant.
//!
//! In: the headers of a request, and the tenant that its path, query or body names. Out: a principal.
//! Always: with tokens the tenant is the token's; another tenant's path is as unknown as one that is not there;
//! without tokens (`--no-auth`) the tenant is the one that is named.

use carillon_auth::{Access, AuthError, Principal, bearer};
use carillon_schemas::{
    TenantId, UserId, claims::Scope, envelope::Envelope, notification::Audience, problem::FieldError,
};
use http::{HeaderMap, header::AUTHORIZATION};

use crate::refusal::Refusal;

/// Who calls, before the tenant is known.
pub(super) enum Caller {
    /// Whom a token speaks for.
    Known(Principal),
    /// Anybody: tokens are not asked for.
    Anybody,
}

/// Who calls.
///
/// # Errors
/// [`Refusal::Credential`].
pub(super) fn identify(access: &Access, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let verifier = match access {
        Access::Open => return Ok(Caller::Anybody),
        Access::Tokens(verifier) => verifier,
    };
    let value = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    let token = value.ok_or(AuthError::Missing).and_then(bearer);
    token
        .and_then(|token| verifier.verify(token))
        .map(Caller::Known)
        .map_err(Refusal::Credential)
}

impl Caller {
    /// The tenant, where a token says it.
    pub(super) fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Known(principal) => Some(principal.tenant()),
            Self::Anybody => None,
        }
    }

    /// Whether one of these scopes was given.
    ///
    /// # Errors
    /// [`Refusal::Scope`].
    pub(super) fn must_have(&self, scopes: &'static [Scope]) -> Result<(), Refusal> {
        match self {
            Self::Known(principal) if !scopes.iter().any(|s| principal.has(*s)) => {
                Err(Refusal::Scope(scopes))
            }
            _ => Ok(()),
        }
    }

    /// The principal of a submit whose body names a tenant, or none.
    ///
    /// # Errors
    /// [`Refusal::TenantMismatch`] when it contradicts the token, [`Refusal::Fields`] when nothing names one.
    pub(super) fn for_body(
        self,
        named: Option<&TenantId>,
        user: Option<&UserId>,
    ) -> Result<Principal, Refusal> {
        match (self, named) {
            (Self::Known(principal), Some(named)) if named != principal.tenant() => {
                Err(Refusal::TenantMismatch)
            }
            (Self::Known(principal), _) => Ok(principal),
            (Self::Anybody, Some(named)) => {
                let subject = user.cloned().unwrap_or_else(nobody);
                Ok(Principal::unauthenticated(named.clone(), subject))
            }
            (Self::Anybody, None) => Err(Refusal::Fields(vec![FieldError::new(
                "/tenant_id",
                "is required without tokens",
            )])),
        }
    }

    /// The principal of a read whose query may name a tenant.
    ///
    /// # Errors
    /// [`Refusal::Parameters`] when only the query could name one and does not.
    pub(super) fn for_query(self, named: Option<&str>) -> Result<Principal, Refusal> {
        match (self, named) {
            (Self::Known(principal), _) => Ok(principal),
            (Self::Anybody, Some(named)) => Ok(anybody_of(named)?),
            (Self::Anybody, None) => Err(Refusal::parameter("tenant_id", "is required without tokens")),
        }
    }

    /// The principal of a read whose path names a tenant, and that tenant.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for another tenant than the token's, unless it is the operator's.
    pub(super) fn for_path(self, named: &str) -> Result<(Principal, TenantId), Refusal> {
        match self {
            Self::Anybody => {
                let principal = anybody_of(named)?;
                let tenant = principal.tenant().clone();
                Ok((principal, tenant))
            }
            Self::Known(principal) => {
                let tenant: TenantId = named.parse().map_err(|_| Refusal::NotFound)?;
                if tenant != *principal.tenant() && !principal.has(Scope::Platform) {
                    return Err(Refusal::NotFound);
                }
                Ok((principal, tenant))
            }
        }
    }
}

fn anybody_of(tenant: &str) -> Result<Principal, Refusal> {
    match tenant.parse() {
        Ok(tenant) => Ok(Principal::unauthenticated(tenant, nobody())),
        Err(error) => Err(Refusal::parameter("tenant_id", format!("{error}"))),
    }
}

/// The subject of somebody who was not asked.
fn nobody() -> UserId {
    match "anonymous".parse() {
        Ok(subject) => subject,
        Err(_) => unreachable!("a plain word is a user id"),
    }
}

/// Whether a principal sees everything of the tenant that it acts for.
pub(super) fn sees_all(principal: &Principal) -> bool {
    [Scope::ReadTenant, Scope::Operate, Scope::Admin, Scope::Platform]
        .into_iter()
        .any(|scope| principal.has(scope))
}

/// Whether a principal sees this notification of its tenant: its own, and those of channels that it reaches.
pub(super) fn may_see(principal: &Principal, envelope: &Envelope) -> bool {
    sees_all(principal)
        || match envelope.audience {
            Audience::Channel => principal.may_reach(&envelope.channel),
            Audience::User => envelope.user_id.as_ref() == Some(principal.subject()),
        }
}
