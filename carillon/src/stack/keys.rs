//! Keys of a data directory: the signing key of the first start, the page secret, a token to begin with.
//!
//! In: a data directory. Out: a key that signs tokens, and files that only their owner reads.
//! Always: what exists is used and never replaced; what cannot be used is refused by name.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use carillon_auth::mint::SigningKey;
use carillon_chassis::clock::Clock;
use carillon_schemas::claims::Claims;

/// The folder inside a data directory.
const FOLDER: &str = "keys";
/// The signing key inside it.
const SIGNING_KEY: &str = "signing.pem";
/// The secret of page cursors inside it.
const PAGE_SECRET: &str = "page.secret";
/// The token inside a data directory that `send` and `listen` look for.
pub(crate) const TOKEN_FILE: &str = "keys/demo.token";
/// The tenant of that token.
const DEMO_TENANT: &str = "demo";
/// Its life; it is renewed at half of it.
const DEMO_LIFE: Duration = Duration::from_hours(24);

/// The keys of one data directory.
pub(crate) struct Keys {
    dir: PathBuf,
    pub(crate) signing: SigningKey,
}

impl Keys {
    /// Reads them, making what is missing.
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let dir = data_dir.join(FOLDER);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("cannot make {}", dir.display()))?;
        let path = dir.join(SIGNING_KEY);
        if !path.exists() {
            let key = SigningKey::generate_ed25519()?;
            let pem = key.to_pem().ok_or_else(|| anyhow!("a new key has no PEM"))?;
            write_private(&path, pem.as_bytes())?;
        }
        Ok(Self {
            signing: read_key(&path)?,
            dir,
        })
    }

    /// The secret that binds page cursors, made at the first start.
    pub(crate) fn page_secret(&self) -> Result<Vec<u8>> {
        let path = self.dir.join(PAGE_SECRET);
        if !path.exists() {
            // A fresh key's private part is as good a source of randomness as any that this crate has.
            let random = SigningKey::generate_ed25519()?;
            write_private(&path, random.to_pem().unwrap_or_default().as_bytes())?;
        }
        let secret = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if secret.len() < 32 {
            return Err(anyhow!(
                "{} is too short to be a secret: restore it, or move it away (page cursors handed out before end)",
                path.display()
            ));
        }
        Ok(secret)
    }

    /// Writes a fresh token of the tenant `demo`; gives its path and how long until the next is due.
    pub(crate) fn write_token(&self, clock: &Clock) -> Result<(PathBuf, Duration)> {
        let token = self
            .signing
            .mint(&claims(DEMO_TENANT, DEMO_TENANT, DEMO_LIFE, clock))?;
        let path = self.dir.join("demo.token");
        write_private(&path, token.as_bytes())?;
        Ok((path, DEMO_LIFE / 2))
    }
}

/// Claims of a token that lives from now on, with the default scopes.
pub(crate) fn claims(tenant: &str, subject: &str, life: Duration, clock: &Clock) -> Claims {
    let now = clock.unix_secs();
    Claims {
        tenant_id: tenant.to_owned(),
        sub: subject.to_owned(),
        iat: now,
        nbf: now,
        exp: now + life.as_secs(),
        scope: None,
        iss: None,
        aud: None,
        jti: None,
        channels: None,
    }
}

/// The signing key that `up` made in this data directory.
pub(crate) fn signing_key(data_dir: &Path) -> Result<SigningKey> {
    read_key(&data_dir.join(FOLDER).join(SIGNING_KEY))
}

fn read_key(path: &Path) -> Result<SigningKey> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the signing key {}", path.display()))?;
    SigningKey::from_pem(&text).with_context(|| {
        format!(
            "{} cannot be used: restore it, or move it away (tokens signed with it end)",
            path.display()
        )
    })
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = path.with_extension("new");
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_made_once_and_only_their_owner_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let (first, second) = (Keys::open(dir.path()).unwrap(), Keys::open(dir.path()).unwrap());
        assert_eq!(first.signing.kid(), second.signing.kid());
        assert_eq!(first.page_secret().unwrap(), second.page_secret().unwrap());
        let (token, _) = first.write_token(&clock).unwrap();
        assert_eq!(token, dir.path().join(TOKEN_FILE));
        for entry in fs::read_dir(dir.path().join(FOLDER)).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(
                entry.metadata().unwrap().permissions().mode() & 0o777,
                0o600,
                "{:?}",
                entry.path()
            );
        }
    }

    #[test]
    fn a_damaged_key_is_refused_by_name_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        Keys::open(dir.path()).unwrap();
        let path = dir.path().join(FOLDER).join(SIGNING_KEY);
        fs::write(&path, "junk").unwrap();
        let error = format!("{:#}", Keys::open(dir.path()).err().unwrap());
        assert!(
            error.contains("signing.pem") && error.contains("restore"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "junk");
    }
}
