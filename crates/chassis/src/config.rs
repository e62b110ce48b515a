//! Configuration: flag over `CARILLON_*` environment over `carillon.toml` over default.
//!
//! In: the layers. Out: typed settings, and for each key its value and where it came from.
//! Always: a key that nobody knows is an error that names the nearest known one; secrets print as `***`.

use std::path::{Path, PathBuf};

use figment::{
    Figment,
    providers::{Format, Serialized, Toml},
    value::{Dict, Map, Value},
};
use serde::{Serialize, de::DeserializeOwned};

/// The layers above the defaults.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// A TOML file that must exist when it is named.
    pub file: Option<PathBuf>,
    /// `CARILLON_*` variables as (name, value).
    pub environment: Vec<(String, String)>,
    /// Flags as (dotted key, value); values are read as TOML where they parse as such, otherwise as text.
    pub flags: Vec<(String, String)>,
}

/// One effective setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Dotted key.
    pub key: String,
    /// Its value as JSON, secrets as `***`.
    pub value: serde_json::Value,
    /// Where it came from: `default`, the file, the variable or the flag.
    pub source: String,
}

/// Settings with their sources.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The typed settings.
    pub settings: T,
    /// Every key with its value and source, sorted by key.
    pub listing: Vec<Setting>,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The named file cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A key that nobody knows.
    #[error("unknown setting {key} in {source_name}{hint}")]
    Unknown {
        /// The key as it was written.
        key: String,
        /// Which layer.
        source_name: String,
        /// ` (did you mean …?)` or empty.
        hint: String,
    },
    /// A value that does not fit its key.
    #[error("{0}")]
    Invalid(String),
}

/// Prefix of the environment's variables.
pub const ENVIRONMENT_PREFIX: &str = "CARILLON_";

/// The process's `CARILLON_*` variables.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
pub fn environment() -> Vec<(String, String)> {
    std::env::vars()
        .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX))
        .collect()
}

/// Merges the layers over `T`'s defaults. Every field of `T` must be serialized, `None` as null: the keys
/// of the default value are the known keys.
///
/// # Errors
/// [`ConfigError`] for an unreadable file, an unknown key, or a value of the wrong type.
pub fn load<T>(layers: &Layers) -> Result<Loaded<T>, ConfigError>
where
    T: Default + Serialize + DeserializeOwned,
{
    let known = known_keys(&T::default())?;
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    if let Some(path) = &layers.file {
        check_file(path, &known)?;
        figment = figment.merge(Toml::file_exact(path));
    }
    for (name, text) in &layers.environment {
        let key = key_of_variable(name, &known)?;
        figment = figment.merge(Layer::new(format!("environment {name}"), key, text));
    }
    for (key, text) in &layers.flags {
        figment = figment.merge(Layer::new(
            format!("flag --{}", key.replace(['.', '_'], "-")),
            key,
            text,
        ));
    }
    let settings: T = figment
        .extract()
        .map_err(|e| ConfigError::Invalid(e.to_string()))?;
    let listing = listing(&figment, &settings, &known)?;
    Ok(Loaded { settings, listing })
}

fn listing<T: Serialize>(
    figment: &Figment,
    settings: &T,
    known: &[String],
) -> Result<Vec<Setting>, ConfigError> {
    let values = serde_json::to_value(settings).map_err(|e| ConfigError::Invalid(e.to_string()))?;
    let setting = |key: &String| {
        let pointer = format!("/{}", key.replace('.', "/"));
        let source = figment.find_metadata(key).map_or("default", |m| m.name.as_ref());
        let source = match source {
            name if name.starts_with("environment ") || name.starts_with("flag ") => name.to_owned(),
            name if name.contains("TOML") => "file".to_owned(),
            _ => "default".to_owned(),
        };
        Setting {
            key: key.clone(),
            value: values.pointer(&pointer).cloned().unwrap_or_default(),
            source,
        }
    };
    Ok(known.iter().map(setting).collect())
}

/// One key of one layer, named so that errors and listings can tell where it came from.
struct Layer {
    name: String,
    key: String,
    value: Value,
}

impl Layer {
    fn new(name: String, key: &str, text: &str) -> Self {
        let value = text.parse::<Value>().unwrap_or_else(|never| match never {});
        Self {
            name,
            key: key.to_owned(),
            value,
        }
    }
}

impl figment::Provider for Layer {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<figment::Profile, Dict>, figment::Error> {
        let value = figment::util::nest(&self.key, self.value.clone());
        let dict = value.into_dict().unwrap_or_default();
        Ok(Map::from([(figment::Profile::Default, dict)]))
    }
}

fn known_keys<T: Serialize>(default: &T) -> Result<Vec<String>, ConfigError> {
    let value = serde_json::to_value(default).map_err(|e| ConfigError::Invalid(e.to_string()))?;
    let mut keys = Vec::new();
    collect_keys("", &value, &mut keys);
    keys.sort();
    Ok(keys)
}

fn collect_keys(prefix: &str, value: &serde_json::Value, keys: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let key = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                collect_keys(&key, value, keys);
            }
        }
        _ => keys.push(prefix.to_owned()),
    }
}

fn check_file(path: &Path, known: &[String]) -> Result<(), ConfigError> {
    let error = |reason: String| ConfigError::File {
        path: path.display().to_string(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|e| error(e.to_string()))?;
    let table: serde_json::Value = toml::from_str(&text).map_err(|e| error(e.to_string()))?;
    let mut keys = Vec::new();
    collect_keys("", &table, &mut keys);
    match keys.into_iter().find(|key| !known.contains(key)) {
        None => Ok(()),
        Some(key) => Err(unknown(
            &key,
            path.display().to_string(),
            known.iter().map(String::as_str),
        )),
    }
}

fn key_of_variable<'a>(name: &str, known: &'a [String]) -> Result<&'a str, ConfigError> {
    let variables: Vec<String> = known.iter().map(|key| variable_of_key(key)).collect();
    match variables.iter().position(|v| v == name) {
        Some(at) => Ok(&known[at]),
        None => Err(unknown(
            name,
            "the environment".to_owned(),
            variables.iter().map(String::as_str),
        )),
    }
}

/// The variable of a key: `ingest.body_bytes` is `CARILLON_INGEST_BODY_BYTES`.
pub fn variable_of_key(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "_").to_uppercase())
}

fn unknown<'a>(key: &str, source_name: String, known: impl Iterator<Item = &'a str>) -> ConfigError {
    let nearest = known.max_by(|a, b| strsim::jaro_winkler(key, a).total_cmp(&strsim::jaro_winkler(key, b)));
    let hint = nearest
        .map(|n| format!(" (did you mean {n}?)"))
        .unwrap_or_default();
    ConfigError::Unknown {
        key: key.to_owned(),
        source_name,
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use serde::Deserialize;

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        data_dir: String,
        ingest: Ingest,
        secret: Option<Secret>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Ingest {
        body_bytes: u32,
        listen: Option<String>,
    }

    impl Default for Settings {
        fn default() -> Self {
            let ingest = Ingest {
                body_bytes: 1,
                listen: None,
            };
            Self {
                data_dir: "data".into(),
                ingest,
                secret: None,
            }
        }
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("carillon.toml");
        std::fs::write(
            &file,
            "data_dir = \"f\"\n[ingest]\nbody_bytes = 2\nlisten = \"f:1\"\n",
        )
        .unwrap();
        let layers = Layers {
            file: Some(file),
            environment: vec![
                pair("CARILLON_INGEST_BODY_BYTES", "3"),
                pair("CARILLON_SECRET", "hush"),
            ],
            flags: vec![pair("ingest.body_bytes", "4")],
        };
        let loaded = load::<Settings>(&layers).unwrap();
        assert_eq!(loaded.settings.ingest.body_bytes, 4);
        assert_eq!(loaded.settings.data_dir, "f");
        let listed: Vec<_> = loaded
            .listing
            .iter()
            .map(|s| (s.key.as_str(), s.source.as_str()))
            .collect();
        assert_eq!(
            listed,
            [
                ("data_dir", "file"),
                ("ingest.body_bytes", "flag --ingest-body-bytes"),
                ("ingest.listen", "file"),
                ("secret", "environment CARILLON_SECRET"),
            ]
        );
        assert_eq!(loaded.listing[3].value, "***");
        assert!(!format!("{loaded:?}").contains("hush"));
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let layers = Layers {
            environment: vec![pair("CARILLON_DATADIR", "x")],
            ..Layers::default()
        };
        let error = load::<Settings>(&layers).unwrap_err().to_string();
        assert!(
            error.contains("CARILLON_DATADIR") && error.contains("did you mean CARILLON_DATA_DIR?"),
            "{error}"
        );

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("carillon.toml");
        std::fs::write(&file, "[ingest]\nbodybytes = 2\n").unwrap();
        let error = load::<Settings>(&Layers {
            file: Some(file),
            ..Layers::default()
        })
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("ingest.bodybytes") && error.contains("did you mean ingest.body_bytes?"),
            "{error}"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_an_error_that_names_the_key() {
        let layers = Layers {
            flags: vec![pair("ingest.body_bytes", "many")],
            ..Layers::default()
        };
        let error = load::<Settings>(&layers).unwrap_err().to_string();
        assert!(error.contains("body_bytes"), "{error}");
    }
}
