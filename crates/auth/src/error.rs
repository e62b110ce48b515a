//! Refusals: why a token is not accepted, and why a configuration is not.
//!
//! In: nothing. Out: closed lists whose texts are public.
//! Always: no text here repeats anything that a token said.

use std::path::PathBuf;

use carillon_schemas::ids::IdError;

/// Why a token is refused. The text may be shown to whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no token.
    #[error("a bearer token is required")]
    Missing,
    /// Longer than [`crate::MAX_TOKEN_BYTES`].
    #[error("the token is too long")]
    TooLong,
    /// Not three parts of base64url with a JSON object in the first two, or a name stands twice in one.
    #[error("the token is not a well-formed JWT")]
    Malformed,
    /// `alg` is none of HS256, RS256, ES256, EdDSA.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// The key that `kid` names is of another algorithm than `alg`.
    #[error("the token's algorithm is not that of its key")]
    KeyAlgorithm,
    /// There is a `crit` header: extensions that we do not know.
    #[error("the token demands extensions that are not supported")]
    Critical,
    /// `kid` is no string, too long, or has characters that no key id of ours has.
    #[error("the token's key id is not valid")]
    KeyId,
    /// No key of that id, or none of that algorithm.
    #[error("the token was signed with an unknown key")]
    UnknownKey,
    /// No candidate key made this signature.
    #[error("the token's signature is not valid")]
    Signature,
    /// A required claim is not there.
    #[error("the token has no {0} claim")]
    MissingClaim(&'static str),
    /// A claim has the wrong type.
    #[error("the token's {0} claim has the wrong type")]
    ClaimType(&'static str),
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` lies ahead.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// More time between issue and expiry than is accepted.
    #[error("the token lives longer than is accepted")]
    LifetimeTooLong,
    /// `iss` is not an accepted issuer.
    #[error("the token's issuer is not accepted")]
    Issuer,
    /// `aud` does not name us.
    #[error("the token is meant for another audience")]
    Audience,
    /// The tenant claim is no tenant id.
    #[error("the token's tenant {0}")]
    Tenant(IdError),
    /// `sub` is no user id.
    #[error("the token's subject {0}")]
    Subject(IdError),
    /// An entry of `channels` is no channel pattern, or there are too many.
    #[error("the token's channels claim is not a list of channel patterns")]
    Channels,
}

impl AuthError {
    /// Whether the token was good once, so that its owner should fetch a fresh one.
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Expired)
    }

    /// A constant word for log fields and metric labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::KeyAlgorithm => "key_algorithm",
            Self::Critical => "critical",
            Self::KeyId => "key_id",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::MissingClaim(_) => "missing_claim",
            Self::ClaimType(_) => "claim_type",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::LifetimeTooLong => "lifetime_too_long",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Tenant(_) => "tenant",
            Self::Subject(_) => "subject",
            Self::Channels => "channels",
        }
    }
}

/// Why a verifier cannot be made of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// No source gives any key.
    #[error("no key to verify tokens with is configured")]
    NoKeys,
    /// The operator's issuer has no key of its own.
    #[error("the operator's issuer needs a key of its own")]
    OperatorWithoutKeys,
    /// Keys for an operator whose issuer is not named.
    #[error("the operator's keys need the operator's issuer")]
    OperatorWithoutIssuer,
    /// The operator's issuer is also everybody's.
    #[error("the operator's issuer must not be the issuer of everybody's tokens")]
    OperatorIsEverybody,
    /// No claim is named that could hold the tenant.
    #[error("at least one claim that holds the tenant must be named")]
    NoTenantClaim,
    /// A key file cannot be used.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyError,
    },
    /// A key given as text or bytes cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// What is wrong with a key or a set of keys. No text here repeats key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// More than 64 KiB.
    #[error("is larger than {0} bytes")]
    TooLarge(usize),
    /// The file is not UTF-8.
    #[error("is not text")]
    NotText,
    /// No PEM block in it.
    #[error("has no PEM block; expected BEGIN PUBLIC KEY")]
    NoPem,
    /// A PEM block that is something else.
    #[error("has a PEM block that is no public key; expected BEGIN PUBLIC KEY")]
    NotAPublicKey,
    /// A PEM block with a private key where a public one belongs.
    #[error("has a private key, where only the public key belongs")]
    PrivateKey,
    /// Not RSA, P-256 or Ed25519, or the encoding is broken.
    #[error("has a key that is not RSA, EC P-256 or Ed25519, or is damaged")]
    Unsupported,
    /// An RSA key outside 2048 to 4096 bits.
    #[error("has an RSA key of {0} bits; 2048 to 4096 are accepted")]
    RsaSize(usize),
    /// Too short for HS256 (RFC 7518, 3.2).
    #[error("an HS256 secret must have at least 32 bytes, this one has {0}")]
    SecretTooShort(usize),
    /// A PEM text given as a shared secret: a public key is no secret.
    #[error("an HS256 secret must not be a PEM text")]
    SecretIsPem,
    /// Not a JSON Web Key Set.
    #[error("is not a JSON Web Key Set")]
    NotAJwks,
    /// A secret beside public keys.
    #[error("has a shared secret beside public keys")]
    MixedFamilies,
    /// Two keys of one algorithm have the same id.
    #[error("has two keys of one algorithm with the same kid")]
    DuplicateKid,
    /// A key id that no token could name.
    #[error("has a kid that is too long or has other characters than letters, digits and ._~:@+/=-")]
    KeyId,
    /// No usable key.
    #[error("has no key that tokens could be verified with")]
    Empty,
    /// More keys than a token without `kid` should be tried against.
    #[error("there are more than {0} keys")]
    TooMany(usize),
}
