//! The key ring: the keys in force, and their quiet renewal.
//!
//! In: the configured sources, and the time at every verification. Out: the keys of everybody and of the operator.
//! Always: a verification never waits for a file. When a look is due, one short-lived thread takes it while
//! everybody goes on with the keys at hand; at most one such thread exists, even when a file system hangs. A
//! generation counts up with every change, so that what a removed key vouched for is forgotten with it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use parking_lot::{Mutex, RwLock};
use tracing::{error, info, warn};

use crate::{
    AuthConfigError, AuthError, KeyError, KeySource,
    keys::{
        self, Key, MAX_KEYS,
        source::{Look, Source},
    },
    token::Token,
};

/// Between two looks at the key files, in milliseconds.
pub(crate) const LOOK_EVERY_MS: u64 = 3_000;

/// Whose keys a token is checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Every issuer but the operator's.
    Everybody,
    /// The operator's issuer.
    Operator,
}

/// The keys of one generation.
pub(crate) struct Keys {
    /// Counts the changes.
    pub(crate) generation: u64,
    everybody: Vec<Key>,
    operator: Vec<Key>,
}

impl Keys {
    /// Whether one of this owner's keys signed the token.
    pub(crate) fn verify(&self, owner: Owner, token: &Token<'_>) -> Result<(), AuthError> {
        match owner {
            Owner::Everybody => keys::verify(&self.everybody, token),
            Owner::Operator => keys::verify(&self.operator, token),
        }
    }
}

/// The keys in force and where they come from.
pub(crate) struct KeyRing {
    sources: Mutex<Vec<(Owner, Source)>>,
    current: RwLock<Arc<Keys>>,
    generation: AtomicU64,
    has_files: bool,
    next_look_ms: AtomicU64,
    looking: AtomicBool,
}

impl KeyRing {
    /// Reads every source once.
    pub(crate) fn open(
        everybody: Vec<KeySource>,
        operator: Vec<KeySource>,
        now_ms: u64,
    ) -> Result<Self, AuthConfigError> {
        let everybody = everybody.into_iter().map(|source| (Owner::Everybody, source));
        let operator = operator.into_iter().map(|source| (Owner::Operator, source));
        let sources = everybody
            .chain(operator)
            .map(|(owner, source)| Ok((owner, Source::open(source)?)))
            .collect::<Result<Vec<_>, AuthConfigError>>()?;
        let keys = collect(&sources, 0)?;
        Ok(Self {
            has_files: sources.iter().any(|(_, source)| source.path().is_some()),
            sources: Mutex::new(sources),
            current: RwLock::new(Arc::new(keys)),
            generation: AtomicU64::new(0),
            next_look_ms: AtomicU64::new(now_ms.saturating_add(LOOK_EVERY_MS)),
            looking: AtomicBool::new(false),
        })
    }

    /// The keys in force.
    pub(crate) fn current(&self) -> Arc<Keys> {
        self.current.read().clone()
    }

    /// The generation of the keys in force.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Has the files looked at if that is due, without waiting for it.
    pub(crate) fn look_if_due(self: &Arc<Self>, now_ms: u64) {
        if !self.has_files {
            return;
        }
        let next = self.next_look_ms.load(Ordering::Relaxed);
        // A clock that was set back must not put the next look off for long.
        let waiting = now_ms < next && next - now_ms <= LOOK_EVERY_MS;
        if waiting || !self.claim(next, now_ms) {
            return;
        }
        // Dropped with the closure when no thread can be had, so that the next look may come.
        let looking = Looking(Arc::clone(self));
        let spawned = thread::Builder::new()
            .name("auth-keys".into())
            .spawn(move || looking.0.look());
        if let Err(error) = spawned {
            warn!(%error, "no thread to look at the key files with, trying again later");
        }
    }

    /// Whether this caller is the one that looks.
    fn claim(&self, next: u64, now_ms: u64) -> bool {
        let then = now_ms.saturating_add(LOOK_EVERY_MS);
        let order = Ordering::Relaxed;
        self.next_look_ms
            .compare_exchange(next, then, order, order)
            .is_ok()
            && !self.looking.swap(true, Ordering::AcqRel)
    }

    /// Looks at every file now. Blocks on the file system.
    fn look(&self) {
        let mut sources = self.sources.lock();
        let mut changed = false;
        for (_, source) in sources.iter_mut() {
            let look = source.look();
            let path = source
                .path()
                .unwrap_or_else(|| std::path::Path::new(""))
                .display();
            match look {
                Look::Unchanged => {}
                Look::Changed => {
                    changed = true;
                    info!(%path, "key file changed");
                }
                Look::Broken(error) => {
                    error!(%path, %error, "key file is bad, keeping the keys that it had");
                }
            }
        }
        if changed {
            self.replace(&sources);
        }
    }

    fn replace(&self, sources: &[(Owner, Source)]) {
        let generation = self.generation() + 1;
        match collect(sources, generation) {
            Ok(keys) => {
                *self.current.write() = Arc::new(keys);
                self.generation.store(generation, Ordering::Release);
            }
            Err(error) => error!(%error, "keys cannot be used together, keeping the old ones"),
        }
    }
}

/// A look in progress: whatever becomes of it, the next one may come.
struct Looking(Arc<KeyRing>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.looking.store(false, Ordering::Release);
    }
}

fn collect(sources: &[(Owner, Source)], generation: u64) -> Result<Keys, KeyError> {
    let of = |wanted: Owner| {
        let mine = sources.iter().filter(|(owner, _)| *owner == wanted);
        mine.flat_map(|(_, source)| source.keys().to_vec())
            .collect::<Vec<_>>()
    };
    let keys = Keys {
        generation,
        everybody: of(Owner::Everybody),
        operator: of(Owner::Operator),
    };
    if keys.everybody.len() > MAX_KEYS || keys.operator.len() > MAX_KEYS {
        return Err(KeyError::TooMany(MAX_KEYS));
    }
    Ok(keys)
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.current();
        f.debug_struct("KeyRing")
            .field("generation", &keys.generation)
            .field("everybody", &keys.everybody.len())
            .field("operator", &keys.operator.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::mint::SigningKey;

    const START: u64 = 1_000_000;

    fn ring(source: KeySource) -> Arc<KeyRing> {
        Arc::new(KeyRing::open(vec![source], Vec::new(), START).unwrap())
    }

    fn next_look(ring: &KeyRing) -> u64 {
        ring.next_look_ms.load(Ordering::Relaxed)
    }

    fn public_pem() -> String {
        SigningKey::generate_ed25519()
            .unwrap()
            .public_pem()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_look_is_due_every_three_seconds_and_after_the_clock_was_set_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        fs::write(&path, public_pem()).unwrap();
        let ring = ring(KeySource::PemFile(path));
        ring.look_if_due(START + LOOK_EVERY_MS - 1);
        assert_eq!(next_look(&ring), START + LOOK_EVERY_MS);
        ring.look_if_due(START + LOOK_EVERY_MS);
        assert_eq!(next_look(&ring), START + 2 * LOOK_EVERY_MS);
        ring.look_if_due(5);
        assert_eq!(next_look(&ring), 5 + LOOK_EVERY_MS);
    }

    #[test]
    fn only_files_are_looked_at() {
        let ring = ring(KeySource::Pem(public_pem()));
        ring.look_if_due(START * 2);
        assert_eq!(next_look(&ring), START + LOOK_EVERY_MS);
    }

    #[test]
    fn only_one_looks_at_a_time() {
        let ring = ring(KeySource::Pem(public_pem()));
        assert!(ring.claim(next_look(&ring), START));
        assert!(!ring.claim(next_look(&ring), START));
        drop(Looking(Arc::clone(&ring)));
        assert!(ring.claim(next_look(&ring), START));
    }

    #[test]
    fn the_generation_counts_changes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let good = public_pem();
        fs::write(&path, &good).unwrap();
        let ring = ring(KeySource::PemFile(path.clone()));
        let look = |text: Option<&str>| {
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            ring.look();
            (ring.generation(), ring.current().everybody.len())
        };
        assert_eq!(look(None), (0, 1));
        assert_eq!(look(Some("no key at all")), (0, 1));
        assert_eq!(look(Some(&format!("{good}{}", public_pem()))), (1, 2));
        assert_eq!(look(None), (1, 2));
        let too_many = (0..=MAX_KEYS).map(|_| public_pem()).collect::<String>();
        assert_eq!(look(Some(&too_many)), (1, 2));
        fs::remove_file(&path).unwrap();
        assert_eq!(look(None), (1, 2));
    }
}
