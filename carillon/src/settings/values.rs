//! Values of settings: lists that may be written as one, secrets in files.
//!
//! In: what a file, a variable or a flag holds. Out: typed values. Always: a secret is read by one function,
//! so that what signs with it and what verifies with it mean the same bytes.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer};

/// A list, or one value that stands for a list of one.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        Many(Vec<String>),
        One(String),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::Many(many) => many,
        OneOrMany::One(one) if one.is_empty() => Vec::new(),
        OneOrMany::One(one) => vec![one],
    })
}

/// The bytes of a secret's file, without the line end that editors add.
pub(crate) fn secret_file(path: &Path) -> Result<Vec<u8>> {
    let mut bytes =
        std::fs::read(path).with_context(|| format!("cannot read the secret in {}", path.display()))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(bytes)
}
