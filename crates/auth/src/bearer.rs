//! The `Authorization` header: where a bearer token stands.
//!
//! In: a header's value. Out: the token in it. Always: nothing is decoded here.

use crate::AuthError;

/// The token of an `Authorization: Bearer …` value (RFC 6750); the scheme's case does not matter.
///
/// # Errors
/// [`AuthError::Missing`] when the scheme is another one or no token follows.
pub fn bearer(value: &str) -> Result<&str, AuthError> {
    let (scheme, rest) = value.trim().split_once(' ').ok_or(AuthError::Missing)?;
    let token = rest.trim_start();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(AuthError::Missing);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_what_follows_the_bearer_scheme() {
        for value in ["Bearer a.b.c", "bearer a.b.c", " BEARER   a.b.c "] {
            assert_eq!(bearer(value), Ok("a.b.c"), "{value:?}");
        }
        for value in ["", "Bearer", "Bearer ", "Basic dTpw", "a.b.c", "Bearera.b.c"] {
            assert_eq!(bearer(value), Err(AuthError::Missing), "{value:?}");
        }
    }
}
