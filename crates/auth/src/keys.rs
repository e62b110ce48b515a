//! Keys: which exist, and which of them a token may be checked with.
//!
//! In: keys from PEM, JWKS or a secret, and a token that has been taken apart. Out: whether one of them signed it.
//! Always: a key serves its own algorithm and no other, so that what a header claims can only choose among
//! keys and never change what is done with one.

pub(crate) mod jwks;
pub(crate) mod pem;
pub(crate) mod ring;
mod source;

use jsonwebtoken::{
    DecodingKey, crypto,
    jwk::{AlgorithmParameters, Jwk, ThumbprintHash},
};

use crate::{AuthError, KeyError, token::Token};

/// Most keys of one owner: bounds what a token without `kid` can cost.
pub(crate) const MAX_KEYS: usize = 32;
/// Shortest HS256 secret in bytes (RFC 7518, 3.2).
pub(crate) const MIN_SECRET_BYTES: usize = 32;
/// Longest key id in bytes.
const MAX_KID_BYTES: usize = 128;
/// Accepted RSA moduli in bits; below 2048 is broken, above 4096 the backend refuses.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// What a key does. There is no other algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    /// The algorithm of this name, exactly as registered.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hs256,
            "RS256" => Self::Rs256,
            "ES256" => Self::Es256,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }

    /// The same for the signature library.
    pub(crate) fn inner(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// How a token can name a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyName {
    /// Its issuer gave it this `kid`: a token with another `kid` is not checked with it.
    Given(Box<str>),
    /// Nobody named it. We mint with its thumbprint as `kid`; foreign tokens may call it anything.
    Thumbprint(Box<str>),
    /// A secret has no public name.
    Nameless,
}

impl KeyName {
    fn is(&self, kid: &str) -> bool {
        match self {
            Self::Given(name) | Self::Thumbprint(name) => **name == *kid,
            Self::Nameless => false,
        }
    }
}

/// A key that tokens are verified with.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    pub(crate) name: KeyName,
    inner: DecodingKey,
}

impl Key {
    /// A shared secret or a public key, if tokens can name it and the backend can work with it.
    pub(crate) fn new(algorithm: Algorithm, kid: Option<&str>, inner: DecodingKey) -> Result<Self, KeyError> {
        if kid.is_some_and(|kid| !is_key_id(kid)) {
            return Err(KeyError::KeyId);
        }
        let name = match algorithm {
            Algorithm::Hs256 => KeyName::Nameless,
            _ => KeyName::Thumbprint(examine(&inner, algorithm)?.into()),
        };
        Ok(Self {
            algorithm,
            name: kid.map_or(name, |kid| KeyName::Given(kid.into())),
            inner,
        })
    }

    /// A shared secret.
    pub(crate) fn secret(secret: &[u8], kid: Option<&str>) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::SecretTooShort(secret.len()));
        }
        if pem::is_pem(secret) {
            return Err(KeyError::SecretIsPem);
        }
        Self::new(Algorithm::Hs256, kid, DecodingKey::from_secret(secret))
    }

    fn signed(&self, token: &Token<'_>) -> bool {
        let verified = crypto::verify(
            token.signature,
            token.signed.as_bytes(),
            &self.inner,
            self.algorithm.inner(),
        );
        verified.unwrap_or(false)
    }
}

/// Whether one of these keys signed the token.
///
/// A `kid` chooses the key of that name; only keys that nobody named are tried for a `kid` that no key has.
/// Without `kid` every key of the algorithm is tried, at most [`MAX_KEYS`].
pub(crate) fn verify(keys: &[Key], token: &Token<'_>) -> Result<(), AuthError> {
    let of_algorithm = || keys.iter().filter(|key| key.algorithm == token.algorithm);
    let Some(kid) = token.kid.as_deref() else {
        return any_signed(of_algorithm(), token);
    };
    if of_algorithm().any(|key| key.name.is(kid)) {
        return any_signed(of_algorithm().filter(|key| key.name.is(kid)), token);
    }
    if keys.iter().any(|key| key.name.is(kid)) {
        return Err(AuthError::KeyAlgorithm);
    }
    let unnamed = of_algorithm().filter(|key| !matches!(key.name, KeyName::Given(_)));
    any_signed(unnamed, token)
}

fn any_signed<'k>(candidates: impl Iterator<Item = &'k Key>, token: &Token<'_>) -> Result<(), AuthError> {
    let mut refusal = AuthError::UnknownKey;
    for key in candidates {
        if key.signed(token) {
            return Ok(());
        }
        refusal = AuthError::Signature;
    }
    Err(refusal)
}

/// Whether a text can be a key id: 1 to 128 letters, digits and `._~:@+/=-`.
pub(crate) fn is_key_id(kid: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._~:@+/=-".contains(&b);
    (1..=MAX_KID_BYTES).contains(&kid.len()) && kid.bytes().all(allowed)
}

/// The thumbprint of a public key that the backend can work with.
///
/// It finds most damage only at the first token, and panics at an Ed25519 key of less than 32 bytes, so its
/// length is asked for first (by the JWK) and a verification tried at once.
fn examine(key: &DecodingKey, algorithm: Algorithm) -> Result<String, KeyError> {
    let inner = algorithm.inner();
    let jwk = Jwk::from_decoding_key(key, Some(inner)).map_err(|_| KeyError::Unsupported)?;
    if algorithm == Algorithm::Rs256 {
        check_rsa(&jwk)?;
    }
    crypto::verify("", b"", key, inner).map_err(|_| KeyError::Unsupported)?;
    thumbprint(&jwk)
}

/// The key's RFC 7638 thumbprint.
pub(crate) fn thumbprint(jwk: &Jwk) -> Result<String, KeyError> {
    jwk.thumbprint(ThumbprintHash::SHA256)
        .map_err(|_| KeyError::Unsupported)
}

/// Refuses RSA keys that the backend would only refuse at the first token, or that are too short.
pub(crate) fn check_rsa(jwk: &Jwk) -> Result<(), KeyError> {
    let AlgorithmParameters::RSA(rsa) = &jwk.algorithm else {
        return Err(KeyError::Unsupported);
    };
    let modulus = pem::decode_base64url(&rsa.n)?;
    let exponent = pem::decode_base64url(&rsa.e)?;
    let bits = bits(&modulus);
    if !RSA_BITS.contains(&bits) {
        return Err(KeyError::RsaSize(bits));
    }
    let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    if !odd(&modulus) || !odd(&exponent) || !(2..=32).contains(&self::bits(&exponent)) {
        return Err(KeyError::Unsupported);
    }
    Ok(())
}

fn bits(number: &[u8]) -> usize {
    let Some(first) = number.iter().position(|byte| *byte != 0) else {
        return 0;
    };
    (number.len() - first) * 8 - number[first].leading_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_is_short_and_plain() {
        for good in ["a", "2026-11", "AbC+/=.~:@_-", &"k".repeat(128)] {
            assert!(is_key_id(good), "{good}");
        }
        for bad in [
            "",
            "a b",
            "a\n",
            "ü",
            "\"",
            "a\\b",
            "a;b",
            "%2e",
            &"k".repeat(129),
        ] {
            assert!(!is_key_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn bits_are_counted_from_the_first_one() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 0]), 0);
        assert_eq!(bits(&[0, 1, 0]), 9);
        assert_eq!(bits(&[0xff; 256]), 2048);
    }

    #[test]
    fn a_secret_has_at_least_32_bytes_and_is_no_public_text() {
        assert!(Key::secret(&[7; 32], None).is_ok());
        assert!(matches!(
            Key::secret(&[7; 31], None),
            Err(KeyError::SecretTooShort(31))
        ));
        let pem = b"\n-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n";
        assert!(matches!(Key::secret(pem, None), Err(KeyError::SecretIsPem)));
    }
}
