//! What a token says, without asking whether it is true: for `carillon token inspect`.
//!
//! In: a token's text. Out: its header and claims as JSON. Always: nothing here is verified, and nothing here
//! makes a principal.

use serde::Serialize;
use serde_json::Value;

use crate::{AuthError, token};

/// A token's two JSON parts, unverified.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The JOSE header.
    pub header: Value,
    /// The claims.
    pub claims: Value,
}

/// Decodes a token without verifying it.
///
/// # Errors
/// [`AuthError`] when the text is empty, too long, or no JWT.
pub fn inspect(token: &str) -> Result<Inspection, AuthError> {
    let (header, claims) = token::parts(token.trim())?;
    Ok(Inspection {
        header: header.into_value(),
        claims: claims.into_value(),
    })
}
