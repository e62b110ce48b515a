//! Sources of keys: a file that may change, or a text that cannot.
//!
//! In: a [`KeySource`]. Out: its keys, read again only when the file has changed.
//! Always: what was read last and was good stays until something good replaces it.

use std::{
    fs::{self, File, Metadata},
    io::Read,
    path::Path,
    time::SystemTime,
};

use crate::{
    AuthConfigError, KeyError, KeySource,
    keys::{Key, jwks, pem},
};

/// Largest key file in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 64 * 1024;

/// A source and the keys that it gave last.
pub(crate) struct Source {
    origin: KeySource,
    keys: Vec<Key>,
    /// The file as it was when it gave `keys`.
    read: Option<Stamp>,
    /// The file as it was when it was found bad: told once, tried again at every look.
    told: Option<Option<Stamp>>,
}

/// How a file is recognised as changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

/// What a look at a source found.
pub(crate) enum Look {
    /// As before.
    Unchanged,
    /// Other keys than before.
    Changed,
    /// Bad since this look; the old keys stay.
    Broken(KeyError),
}

impl Source {
    /// Reads a source for the first time.
    pub(crate) fn open(origin: KeySource) -> Result<Self, AuthConfigError> {
        let read = origin.path().and_then(Stamp::of);
        let keys = load(&origin).map_err(|error| match origin.path() {
            Some(path) => AuthConfigError::File {
                path: path.to_owned(),
                error,
            },
            None => AuthConfigError::Key(error),
        })?;
        Ok(Self {
            origin,
            keys,
            read,
            told: None,
        })
    }

    /// The keys that it gave last.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The file, if it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.origin.path()
    }

    /// Looks whether the file changed, and reads it if so. Blocks on the file system.
    pub(crate) fn look(&mut self) -> Look {
        let Some(path) = self.origin.path() else {
            return Look::Unchanged;
        };
        // Taken before the content is read: a change in between is seen at the next look.
        let stamp = Stamp::of(path);
        if stamp.is_some() && stamp == self.read {
            self.told = None;
            return Look::Unchanged;
        }
        match load(&self.origin) {
            Ok(keys) => {
                self.keys = keys;
                self.read = stamp;
                self.told = None;
                Look::Changed
            }
            Err(_) if self.told == Some(stamp) => Look::Unchanged,
            Err(error) => {
                self.told = Some(stamp);
                Look::Broken(error)
            }
        }
    }
}

impl KeySource {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::PemFile(path) | Self::JwksFile(path) => Some(path),
            Self::Hs256Secret(_) | Self::Jwks(_) | Self::Pem(_) => None,
        }
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
            inode: inode(&metadata),
        })
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

fn load(origin: &KeySource) -> Result<Vec<Key>, KeyError> {
    match origin {
        KeySource::PemFile(path) => pem::public_keys(&read(path)?),
        KeySource::Pem(text) => pem::public_keys(text),
        KeySource::JwksFile(path) => jwks::keys(&read(path)?),
        KeySource::Jwks(text) => jwks::keys(text),
        KeySource::Hs256Secret(secret) => Key::secret(secret, None).map(|key| vec![key]),
    }
}

fn read(path: &Path) -> Result<String, KeyError> {
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(KeyError::TooLarge(MAX_FILE_BYTES));
    }
    String::from_utf8(bytes).map_err(|_| KeyError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mint::SigningKey;

    #[test]
    fn a_bad_file_is_told_once_and_a_good_one_after_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let pem = SigningKey::generate_ed25519()
            .unwrap()
            .public_pem()
            .unwrap()
            .to_owned();
        fs::write(&path, &pem).unwrap();
        let mut source = Source::open(KeySource::PemFile(path.clone())).unwrap();
        assert!(matches!(source.look(), Look::Unchanged));
        fs::write(&path, "no key at all").unwrap();
        assert!(matches!(source.look(), Look::Broken(KeyError::NoPem)));
        assert!(matches!(source.look(), Look::Unchanged));
        fs::remove_file(&path).unwrap();
        assert!(matches!(source.look(), Look::Broken(KeyError::Unreadable(_))));
        assert!(matches!(source.look(), Look::Unchanged));
        assert_eq!(source.keys().len(), 1);
        fs::write(&path, pem.repeat(2)).unwrap();
        assert!(matches!(source.look(), Look::Changed));
        assert_eq!(source.keys().len(), 2);
    }
}
