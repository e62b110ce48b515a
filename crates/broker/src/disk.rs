//! Disk: the few file operations whose order matters.
//!
//! In: paths and bytes. Out: files that are there whole after a crash, or not at all. Always: a rename is
//! durable only once its directory is synced.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use crate::error::BrokerError;

/// Replaces a file's contents at once: temporary file, sync, rename, sync of the directory.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        // Best effort: on a full disk the half-written file takes the room that is missing.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes the creation, renaming or removal of a directory's entries durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Creates a directory whose existence survives a crash.
pub(crate) fn create_dir(path: &Path) -> Result<(), BrokerError> {
    fs::create_dir_all(path).map_err(BrokerError::io("create", path))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            sync_dir(parent).map_err(BrokerError::io("sync", parent))
        }
        _ => Ok(()),
    }
}

/// Takes a data directory for this process; it is free again when the file is dropped.
pub(crate) fn lock_dir(path: &Path) -> Result<File, BrokerError> {
    let lock = path.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock)
        .map_err(BrokerError::io("open", &lock))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(BrokerError::InUse(path.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(BrokerError::io("lock", &lock)(error)),
    }
}

/// A file's contents, or `None` when there is no such file.
pub(crate) fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, BrokerError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BrokerError::io("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock_dir(dir.path()).unwrap();
        assert!(matches!(lock_dir(dir.path()), Err(BrokerError::InUse(_))));
        drop(first);
        lock_dir(dir.path()).unwrap();
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts.json");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
