//! A token's text, taken apart. Nothing is believed yet.
//!
//! In: text from anybody. Out: what was signed, the signature, and the two JSON parts.
//! Always: of the header only `alg`, `kid` and the presence of `crit` are read; `jku`, `jwk`, `x5u`, `x5c` and
//! everything else in it might as well not be there.

use crate::{
    AuthError,
    keys::{Algorithm, is_key_id},
    object::Object,
};

/// Longest accepted token in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The parts of a compact JWS (RFC 7515, 7.1).
pub(crate) struct Token<'a> {
    /// What the signature covers: the first two parts with the dot between.
    pub(crate) signed: &'a str,
    /// The signature in base64url.
    pub(crate) signature: &'a str,
    /// What the header says the algorithm is: only good for choosing among keys.
    pub(crate) algorithm: Algorithm,
    /// Which key the header names: only a key into our own map.
    pub(crate) kid: Option<String>,
    pub(crate) claims: Object,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    pub(crate) fn parse(text: &'a str) -> Result<Self, AuthError> {
        let (signed, payload, signature, header) = split(text)?;
        let header = Object::decode(header)?;
        if header.names("crit") {
            return Err(AuthError::Critical);
        }
        let algorithm = match header.text("alg") {
            Ok(Some(name)) => Algorithm::named(name).ok_or(AuthError::Algorithm)?,
            _ => return Err(AuthError::Algorithm),
        };
        let kid = match header.text("kid") {
            Ok(None) => None,
            Ok(Some(kid)) if is_key_id(kid) => Some(kid.to_owned()),
            _ => return Err(AuthError::KeyId),
        };
        Ok(Self {
            signed,
            signature,
            algorithm,
            kid,
            claims: Object::decode(payload)?,
        })
    }
}

/// Header and claims of a token, whatever they say.
pub(crate) fn parts(text: &str) -> Result<(Object, Object), AuthError> {
    let (_, payload, _, header) = split(text)?;
    Ok((Object::decode(header)?, Object::decode(payload)?))
}

/// (signed, payload, signature, header)
fn split(text: &str) -> Result<(&str, &str, &str, &str), AuthError> {
    check_length(text)?;
    let (signed, signature) = text.rsplit_once('.').ok_or(AuthError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(AuthError::Malformed)?;
    if payload.contains('.') {
        return Err(AuthError::Malformed);
    }
    Ok((signed, payload, signature, header))
}

/// Refuses what is empty or too long to be looked at.
pub(crate) fn check_length(text: &str) -> Result<(), AuthError> {
    match text.len() {
        0 => Err(AuthError::Missing),
        1..=MAX_TOKEN_BYTES => Ok(()),
        _ => Err(AuthError::TooLong),
    }
}
