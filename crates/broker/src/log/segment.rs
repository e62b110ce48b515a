//! Segments: the files of a partition, named after their first offset.
//!
//! In: a directory. Out: its segments in order. Always: names are twenty digits, so that they sort.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::BrokerError;

/// A segment that is not written any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) base_offset: i64,
    pub(super) next_offset: i64,
    pub(super) max_timestamp: i64,
}

pub(super) fn log_path(dir: &Path, base_offset: i64) -> PathBuf {
    dir.join(format!("{base_offset:020}.log"))
}

pub(super) fn index_path(dir: &Path, base_offset: i64) -> PathBuf {
    dir.join(format!("{base_offset:020}.index"))
}

/// First offsets of all segments, rising. Unfinished temporary files are removed.
pub(super) fn list(dir: &Path) -> Result<Vec<i64>, BrokerError> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir).map_err(BrokerError::io("list", dir))? {
        let path = entry.map_err(BrokerError::io("list", dir))?.path();
        let extension = path.extension().and_then(|e| e.to_str());
        if extension == Some("tmp") {
            fs::remove_file(&path).map_err(BrokerError::io("remove", &path))?;
        }
        if extension == Some("log") {
            bases.push(base_of(&path)?);
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

fn base_of(path: &Path) -> Result<i64, BrokerError> {
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let base = stem.parse().ok().filter(|base| *base >= 0 && stem.len() == 20);
    base.ok_or_else(|| BrokerError::Metadata {
        path: path.to_owned(),
        reason: "a segment is named after its first offset, in twenty digits".to_owned(),
    })
}
