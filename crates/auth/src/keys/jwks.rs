//! JSON Web Key Sets (RFC 7517).
//!
//! In: the text of a set. Out: the keys in it that can verify our algorithms.
//! Always: keys for other uses or algorithms are passed over, as identity providers publish several kinds; a
//! private part, a secret beside public keys, or a damaged key refuses the whole set.

use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use crate::{
    KeyError,
    keys::{Algorithm, Key, KeyName, pem::decode_base64url},
};

/// The usable keys of a set.
pub(crate) fn keys(text: &str) -> Result<Vec<Key>, KeyError> {
    let set: Value = serde_json::from_str(text).map_err(|_| KeyError::NotAJwks)?;
    let entries = set
        .get("keys")
        .and_then(Value::as_array)
        .ok_or(KeyError::NotAJwks)?;
    let mut keys = Vec::new();
    for entry in entries {
        let entry = entry.as_object().ok_or(KeyError::NotAJwks)?;
        keys.extend(key(entry)?);
    }
    check(&keys)?;
    Ok(keys)
}

/// One entry; `None` when it is not meant for verifying one of our algorithms.
fn key(entry: &Map<String, Value>) -> Result<Option<Key>, KeyError> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let kind = text("kty").ok_or(KeyError::NotAJwks)?;
    if kind != "oct" && entry.contains_key("d") {
        return Err(KeyError::PrivateKey);
    }
    let algorithm = match (kind, text("crv")) {
        ("oct", _) => Algorithm::Hs256,
        ("RSA", _) => Algorithm::Rs256,
        ("EC", Some("P-256")) => Algorithm::Es256,
        ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
        _ => return Ok(None),
    };
    if !is_for_verifying(entry, algorithm) {
        return Ok(None);
    }
    let kid = match entry.get("kid") {
        None | Some(Value::Null) => None,
        Some(Value::String(kid)) => Some(kid.as_str()),
        Some(_) => return Err(KeyError::KeyId),
    };
    let need = |name: &str| text(name).ok_or(KeyError::Unsupported);
    let made = match algorithm {
        Algorithm::Hs256 => return Key::secret(&decode_base64url(need("k")?)?, kid).map(Some),
        Algorithm::Rs256 => DecodingKey::from_rsa_components(need("n")?, need("e")?),
        Algorithm::Es256 => DecodingKey::from_ec_components(need("x")?, need("y")?),
        Algorithm::EdDsa => DecodingKey::from_ed_components(need("x")?),
    };
    Key::new(algorithm, kid, made.map_err(|_| KeyError::Unsupported)?).map(Some)
}

/// `use`, `key_ops` and `alg`, where they stand, must all allow it.
fn is_for_verifying(entry: &Map<String, Value>, algorithm: Algorithm) -> bool {
    let used = entry.get("use").is_none_or(|kind| kind == "sig");
    let operations = match entry.get("key_ops") {
        None => true,
        Some(list) => list
            .as_array()
            .is_some_and(|list| list.iter().any(|op| op == "verify")),
    };
    let named = match entry.get("alg") {
        None => true,
        Some(name) => name.as_str().and_then(Algorithm::named) == Some(algorithm),
    };
    used && operations && named
}

/// What holds for the set as a whole.
fn check(keys: &[Key]) -> Result<(), KeyError> {
    if keys.is_empty() {
        return Err(KeyError::Empty);
    }
    let secrets = keys
        .iter()
        .filter(|key| key.algorithm == Algorithm::Hs256)
        .count();
    if secrets != 0 && secrets != keys.len() {
        return Err(KeyError::MixedFamilies);
    }
    let same = |a: &Key, b: &Key| a.algorithm == b.algorithm && a.name == b.name;
    let named = |key: &Key| key.name != KeyName::Nameless;
    let repeated = |(at, key): (usize, &Key)| named(key) && keys[..at].iter().any(|k| same(k, key));
    if keys.iter().enumerate().any(repeated) {
        return Err(KeyError::DuplicateKid);
    }
    Ok(())
}
