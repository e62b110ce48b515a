//! Key files that change while tokens are verified.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use carillon_auth::{AuthConfig, AuthConfigError, AuthError, KeyError, KeySource, Verifier};
use carillon_chassis::clock::Clock;
use tempfile::TempDir;

use crate::forge::{Smith, clock, jwks, plain};

struct Stand {
    dir: TempDir,
    clock: Clock,
    verifier: Verifier,
}

impl Stand {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        fs::write(&path, text).unwrap();
        let clock = clock();
        let config = AuthConfig {
            keys: vec![KeySource::JwksFile(path)],
            ..AuthConfig::default()
        };
        let verifier = Verifier::new(config, clock.clone()).unwrap();
        Self { dir, clock, verifier }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("keys.json")
    }

    /// Puts another file in the place of the first, in one step.
    fn replace(&self, text: &str) {
        let new = self.dir.path().join("new.json");
        fs::write(&new, text).unwrap();
        fs::rename(&new, self.path()).unwrap();
    }

    /// Lets time pass until the verifier says this of the token.
    fn eventually(&self, token: &str, wanted: Result<(), AuthError>) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let last = self.verifier.verify(token).map(drop);
            if last == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "wanted {wanted:?}, last was {last:?}");
            self.clock.advance(Duration::from_millis(100));
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn set(smiths: &[&Smith]) -> String {
    jwks(smiths.iter().map(|smith| smith.jwk(smith.key.kid())))
}

#[test]
fn keys_rotate_with_an_overlap() {
    let (old, new) = (Smith::eddsa(), Smith::eddsa());
    let (of_old, of_new) = (old.token(plain()), new.token(plain()));
    let stand = Stand::new(&set(&[&old]));
    stand.eventually(&of_old, Ok(()));
    stand.eventually(&of_new, Err(AuthError::Signature));
    stand.replace(&set(&[&old, &new]));
    stand.eventually(&of_new, Ok(()));
    assert!(stand.verifier.verify(&of_old).is_ok());
    stand.replace(&set(&[&new]));
    // Remembered, and yet no longer believed.
    stand.eventually(&of_old, Err(AuthError::Signature));
    assert!(stand.verifier.verify(&of_new).is_ok());
}

#[test]
fn a_bad_file_changes_nothing_and_the_next_good_one_does() {
    let (old, new) = (Smith::eddsa(), Smith::eddsa());
    let stand = Stand::new(&set(&[&old]));
    for bad in ["", "{", r#"{"keys":[]}"#, &"x".repeat(70_000)] {
        stand.replace(bad);
        for _ in 0..3 {
            stand.clock.advance(Duration::from_secs(5));
            assert!(stand.verifier.verify(&old.token(plain())).is_ok());
        }
    }
    fs::remove_file(stand.path()).unwrap();
    stand.clock.advance(Duration::from_secs(5));
    assert!(stand.verifier.verify(&old.token(plain())).is_ok());
    stand.replace(&set(&[&new]));
    stand.eventually(&new.token(plain()), Ok(()));
}

#[cfg(unix)]
#[test]
fn a_file_system_that_hangs_keeps_nobody_waiting() {
    let (old, new) = (Smith::eddsa(), Smith::eddsa());
    let stand = Stand::new(&set(&[&old]));
    let pipe = stand.dir.path().join("pipe");
    // Reading a pipe hangs until somebody writes to it.
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::rename(&pipe, stand.path()).unwrap();
    for _ in 0..100 {
        stand.clock.advance(Duration::from_secs(5));
        assert!(stand.verifier.verify(&old.token(plain())).is_ok());
    }
    // Opens only once the look is waiting at the other end.
    let mut writer = fs::OpenOptions::new().write(true).open(stand.path()).unwrap();
    writer.write_all(set(&[&new]).as_bytes()).unwrap();
    drop(writer);
    stand.eventually(&new.token(plain()), Ok(()));
}

#[test]
fn a_pem_file_is_watched_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let (old, new) = (Smith::es256(), Smith::es256());
    fs::write(&path, old.key.public_pem().unwrap()).unwrap();
    let clock = clock();
    let config = AuthConfig {
        keys: vec![KeySource::PemFile(path.clone())],
        ..AuthConfig::default()
    };
    let verifier = Verifier::new(config, clock.clone()).unwrap();
    assert!(verifier.verify(&old.token(plain())).is_ok());
    let stand = Stand { dir, clock, verifier };
    fs::write(&path, new.key.public_pem().unwrap()).unwrap();
    stand.eventually(&new.token(plain()), Ok(()));
}

#[test]
fn a_missing_large_or_binary_file_at_the_start_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let open = |path: &Path| {
        let config = AuthConfig {
            keys: vec![KeySource::JwksFile(path.to_owned())],
            ..AuthConfig::default()
        };
        match Verifier::new(config, clock()) {
            Err(AuthConfigError::File { path: named, error }) if named == path => error,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(open(&path), KeyError::Unreadable(_)));
    fs::write(&path, " ".repeat(64 * 1024 + 1)).unwrap();
    assert!(matches!(open(&path), KeyError::TooLarge(65_536)));
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(open(&path), KeyError::NotText));
}
