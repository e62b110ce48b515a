//! Values of settings: lists that may be written as one, the ladder, secrets in files.
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

/// The delays of the ladder, as texts.
pub(super) mod tiers {
    use std::time::Duration;

    use carillon_schemas::topics::Tier;
    use serde::{Deserializer, Serializer, de::Error};

    /// A record that waits longer is too old to be tried again.
    const LONGEST: Duration = Duration::from_hours(24);

    pub(in crate::settings) fn serialize<S: Serializer>(
        tiers: &[Tier],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(tiers.iter().map(ToString::to_string))
    }

    /// From a list, or from one text with spaces or commas between the delays.
    pub(in crate::settings) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Tier>, D::Error> {
        let texts = super::one_or_many(deserializer)?;
        let texts = texts.iter().flat_map(|text| text.split([' ', ',']));
        ladder(texts.filter(|text| !text.is_empty())).map_err(D::Error::custom)
    }

    fn ladder<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Tier>, String> {
        let tiers: Vec<Tier> = texts
            .map(|text| {
                text.parse()
                    .map_err(|error| format!("the delay {text:?} {error}"))
            })
            .collect::<Result<_, _>>()?;
        if tiers.is_empty() {
            return Err("the ladder needs at least one delay, such as 5s".to_owned());
        }
        if let Some(pair) = tiers.windows(2).find(|pair| pair[0] >= pair[1]) {
            let [before, behind] = [pair[0], pair[1]];
            return Err(format!("the delays must rise: {behind} stands behind {before}"));
        }
        match tiers.last() {
            Some(last) if last.delay() > LONGEST => Err(format!("the delay {last} is longer than 24h")),
            _ => Ok(tiers),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_ladder_rises_and_has_at_least_one_delay() {
            let parsed = |text: &'static str| ladder(text.split_whitespace());
            assert_eq!(parsed("5s 30s 2m 10m 1h"), Ok(Tier::DEFAULT.to_vec()));
            for (bad, words) in [
                ("", "at least one"),
                ("5s 5", "\"5\" must be written"),
                ("30s 5s", "5s stands behind 30s"),
                ("60s 1m", "1m stands behind 1m"),
                ("5s 25h", "longer than 24h"),
            ] {
                let error = parsed(bad).unwrap_err();
                assert!(error.contains(words), "{bad}: {error}");
            }
        }
    }
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
