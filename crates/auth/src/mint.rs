//! Minting (signatures first, bodies follow).
use carillon_schemas::claims::Claims;

/// Why a key cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The text is no usable private key.
    #[error("is not a private key in PEM (PKCS#8, or PKCS#1 for RSA) of RSA, EC P-256 or Ed25519")]
    NotAPrivateKey,
    /// Too short for HS256.
    #[error("an HS256 secret must have at least 32 bytes, this one has {0}")]
    SecretTooShort(usize),
    /// Signing failed.
    #[error("cannot be signed with this key")]
    Signing,
}

/// A key that signs tokens, for development and for the operator's own tools.
#[derive(Debug)]
pub struct SigningKey {}

impl SigningKey {
    /// A new random Ed25519 key.
    ///
    /// # Errors
    /// [`MintError::Signing`] when the system gives no randomness.
    pub fn generate_ed25519() -> Result<Self, MintError> {
        unimplemented!()
    }

    /// A private key in PEM: PKCS#8 for Ed25519 and EC P-256, PKCS#8 or PKCS#1 for RSA.
    ///
    /// # Errors
    /// [`MintError::NotAPrivateKey`].
    pub fn from_pem(_pem: &str) -> Result<Self, MintError> {
        unimplemented!()
    }

    /// A shared secret of at least 32 bytes.
    ///
    /// # Errors
    /// [`MintError::SecretTooShort`].
    pub fn from_hs256_secret(_secret: &[u8]) -> Result<Self, MintError> {
        unimplemented!()
    }

    /// The private key in PEM; `None` for a shared secret.
    pub fn to_pem(&self) -> Option<&str> {
        unimplemented!()
    }

    /// The public key in PEM, as [`crate::KeySource::Pem`] takes it; `None` for a shared secret.
    pub fn public_pem(&self) -> Option<&str> {
        unimplemented!()
    }

    /// The public key's id: its RFC 7638 thumbprint; `None` for a shared secret.
    pub fn kid(&self) -> Option<&str> {
        unimplemented!()
    }

    /// A signed token with these claims.
    ///
    /// # Errors
    /// [`MintError::Signing`].
    pub fn mint(&self, _claims: &Claims) -> Result<String, MintError> {
        unimplemented!()
    }
}
