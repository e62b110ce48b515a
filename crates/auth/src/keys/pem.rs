//! PEM texts: public keys for verification, and what minting needs to read and write.
//!
//! In: text with any number of PEM blocks. Out: keys. Always: a private key is refused where a public one
//! belongs, so that a verifier never holds what could sign.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::DecodingKey;

use crate::{
    KeyError,
    keys::{Algorithm, Key},
};

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// One block: its label (`PUBLIC KEY`) and its whole text.
pub(crate) struct Block<'a> {
    pub(crate) label: &'a str,
    pub(crate) text: &'a str,
}

/// Whether these bytes look like PEM, which is never a secret to be shared.
pub(crate) fn is_pem(bytes: &[u8]) -> bool {
    bytes
        .windows(BEGIN.len())
        .any(|window| window == BEGIN.as_bytes())
}

/// The blocks of a text, in order; what is not closed is none.
pub(crate) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        let block = &rest[begin..];
        let Some((label, _)) = block[BEGIN.len()..].split_once(DASHES) else {
            break;
        };
        let end = format!("-----END {label}-----");
        let Some(at) = block.find(&end) else {
            break;
        };
        let (text, after) = block.split_at(at + end.len());
        blocks.push(Block { label, text });
        rest = after;
    }
    blocks
}

/// The public keys of a text.
pub(crate) fn public_keys(text: &str) -> Result<Vec<Key>, KeyError> {
    let keys = blocks(text)
        .iter()
        .map(public_key)
        .collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() {
        return Err(KeyError::NoPem);
    }
    Ok(keys)
}

fn public_key(block: &Block<'_>) -> Result<Key, KeyError> {
    match block.label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        label if label.contains("PRIVATE") => return Err(KeyError::PrivateKey),
        _ => return Err(KeyError::NotAPublicKey),
    }
    let bytes = block.text.as_bytes();
    if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
        return Key::new(Algorithm::EdDsa, None, key);
    }
    if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
        return Key::new(Algorithm::Es256, None, key);
    }
    let key = DecodingKey::from_rsa_pem(bytes).map_err(|_| KeyError::Unsupported)?;
    Key::new(Algorithm::Rs256, None, key)
}

/// Writes a block, 64 characters a line (RFC 7468).
pub(crate) fn write(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// A number or point in a JWK.
pub(crate) fn decode_base64url(text: &str) -> Result<Vec<u8>, KeyError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Unsupported)
}
