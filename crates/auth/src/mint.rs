//! Minting: tokens for development and for the operator's own tools.
//!
//! In: a private key or a secret, and claims. Out: signed tokens that our own verifier accepts.
//! Always: the header's algorithm is the key's; private parts are never printed.

mod der;

use std::fmt;

use carillon_schemas::claims::Claims;
use jsonwebtoken::{
    EncodingKey, Header, crypto,
    jwk::{AlgorithmParameters, Jwk},
};
use rand::{TryRng, rngs::SysRng};
use serde_json::Value;

use crate::{
    KeyError,
    keys::{self, Algorithm, MIN_SECRET_BYTES, pem},
};

/// Why a key cannot sign. No text here repeats key material.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The text is no usable private key.
    #[error(
        "is not an unencrypted private key in PEM (PKCS#8, for RSA also PKCS#1) of RSA, EC P-256 or Ed25519"
    )]
    NotAPrivateKey,
    /// The key is of the right kind, but not one to be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// Signing failed.
    #[error("cannot be signed with this key")]
    Signing,
}

/// A key that signs tokens.
pub struct SigningKey {
    algorithm: Algorithm,
    inner: EncodingKey,
    public: Option<Public>,
}

/// What an asymmetric key has beside its signatures.
struct Public {
    private_pem: String,
    public_pem: String,
    jwk: Value,
    kid: String,
}

impl SigningKey {
    /// A new random Ed25519 key.
    ///
    /// # Errors
    /// [`MintError::NoRandomness`] when the system gives none.
    pub fn generate_ed25519() -> Result<Self, MintError> {
        let mut seed = [0; 32];
        SysRng
            .try_fill_bytes(&mut seed)
            .map_err(|_| MintError::NoRandomness)?;
        Self::from_pem(&pem::write("PRIVATE KEY", &der::ed25519_private(&seed)))
    }

    /// A private key in PEM: PKCS#8 for Ed25519 and EC P-256, PKCS#8 or PKCS#1 for RSA. The first private
    /// key of the text counts; what else stands in it is passed over.
    ///
    /// # Errors
    /// [`MintError::NotAPrivateKey`], or [`MintError::Key`] for an RSA key that is too short.
    pub fn from_pem(text: &str) -> Result<Self, MintError> {
        let blocks = pem::blocks(text);
        let private = |block: &&pem::Block<'_>| matches!(block.label, "PRIVATE KEY" | "RSA PRIVATE KEY");
        let block = blocks.iter().find(private).ok_or(MintError::NotAPrivateKey)?;
        let (algorithm, inner) = read(block.text.as_bytes()).ok_or(MintError::NotAPrivateKey)?;
        // The backend reads a private key only when it signs: let it do so now.
        crypto::sign(b"", &inner, algorithm.inner()).map_err(|_| MintError::NotAPrivateKey)?;
        let jwk = Jwk::from_encoding_key(&inner, algorithm.inner()).map_err(|_| MintError::NotAPrivateKey)?;
        if algorithm == Algorithm::Rs256 {
            keys::check_rsa(&jwk)?;
        }
        let public = Public {
            private_pem: format!("{}\n", block.text),
            public_pem: pem::write("PUBLIC KEY", &public_der(&jwk)?),
            kid: keys::thumbprint(&jwk)?,
            jwk: published(jwk)?,
        };
        Ok(Self {
            algorithm,
            inner,
            public: Some(public),
        })
    }

    /// A shared secret of at least 32 bytes.
    ///
    /// # Errors
    /// [`MintError::Key`] when it is shorter.
    pub fn from_hs256_secret(secret: &[u8]) -> Result<Self, MintError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::SecretTooShort(secret.len()).into());
        }
        Ok(Self {
            algorithm: Algorithm::Hs256,
            inner: EncodingKey::from_secret(secret),
            public: None,
        })
    }

    /// The private key in PEM, to be kept in a file that only its owner reads; `None` for a shared secret.
    pub fn to_pem(&self) -> Option<&str> {
        self.public.as_ref().map(|public| public.private_pem.as_str())
    }

    /// The public key in PEM, as [`crate::KeySource::Pem`] takes it; `None` for a shared secret.
    pub fn public_pem(&self) -> Option<&str> {
        self.public.as_ref().map(|public| public.public_pem.as_str())
    }

    /// The public key as an entry of a JSON Web Key Set, with its `kid`; `None` for a shared secret.
    pub fn public_jwk(&self) -> Option<&Value> {
        self.public.as_ref().map(|public| &public.jwk)
    }

    /// The public key's id: its RFC 7638 thumbprint; `None` for a shared secret.
    pub fn kid(&self) -> Option<&str> {
        self.public.as_ref().map(|public| public.kid.as_str())
    }

    /// A signed token with these claims.
    ///
    /// # Errors
    /// [`MintError::Signing`].
    pub fn mint(&self, claims: &Claims) -> Result<String, MintError> {
        let mut header = Header::new(self.algorithm.inner());
        header.kid = self.kid().map(String::from);
        jsonwebtoken::encode(&header, claims, &self.inner).map_err(|_| MintError::Signing)
    }
}

/// The key of a PEM block, by what it turns out to be.
fn read(block: &[u8]) -> Option<(Algorithm, EncodingKey)> {
    if let Ok(key) = EncodingKey::from_ed_pem(block) {
        // The newer form of PKCS#8 carries the public key too, which the backend does not expect.
        let der = der::ed25519_private(&der::ed25519_seed(key.as_bytes())?);
        return Some((Algorithm::EdDsa, EncodingKey::from_ed_der(&der)));
    }
    if let Ok(key) = EncodingKey::from_ec_pem(block) {
        return Some((Algorithm::Es256, key));
    }
    let key = EncodingKey::from_rsa_pem(block).ok()?;
    Some((Algorithm::Rs256, key))
}

fn public_der(jwk: &Jwk) -> Result<Vec<u8>, KeyError> {
    let number = |text: &str| pem::decode_base64url(text);
    Ok(match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(key) => der::ed25519_public(&number(&key.x)?),
        AlgorithmParameters::EllipticCurve(key) => der::p256_public(&number(&key.x)?, &number(&key.y)?),
        AlgorithmParameters::RSA(key) => der::rsa_public(&number(&key.n)?, &number(&key.e)?),
        _ => return Err(KeyError::Unsupported),
    })
}

fn published(mut jwk: Jwk) -> Result<Value, KeyError> {
    jwk.common.key_id = Some(keys::thumbprint(&jwk)?);
    jwk.common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Signature);
    serde_json::to_value(jwk).map_err(|_| KeyError::Unsupported)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_pkcs8_hold_the_same_key() {
        let seed = [7; 32];
        let old = der::ed25519_private(&seed);
        let first = SigningKey::from_pem(&pem::write("PRIVATE KEY", &old)).unwrap();
        let x = pem::decode_base64url(first.public_jwk().unwrap()["x"].as_str().unwrap()).unwrap();
        let new = [
            &[0x30, 0x51, 0x02, 0x01, 0x01],
            &old[5..],
            &[0x81, 0x21, 0x00],
            &x,
        ]
        .concat();
        let second = SigningKey::from_pem(&pem::write("PRIVATE KEY", &new)).unwrap();
        assert_eq!(first.kid(), second.kid());
    }

    #[test]
    fn a_thumbprint_is_that_of_the_standard() {
        // The key of RFC 8037, appendix A.1 and A.3.
        let seed = pem::decode_base64url("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let der = der::ed25519_private(seed.as_slice().try_into().unwrap());
        let key = SigningKey::from_pem(&pem::write("PRIVATE KEY", &der)).unwrap();
        assert_eq!(
            key.public_jwk().unwrap()["x"],
            "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        );
        assert_eq!(key.kid(), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
    }
}
