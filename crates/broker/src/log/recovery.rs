//! Recovery: what a partition's directory holds after the last process ended, however it ended.
//!
//! In: segment files and their indexes. Out: the log as it was, minus a torn tail. Always: only bytes behind
//! the last saved index are scanned; nothing is cut but the end of the last segment, and only when nothing
//! valid stands behind it; any other damage is refused.

use std::{
    fs::{File, OpenOptions},
    path::Path,
};

use tracing::warn;

use super::{
    index::Index,
    producers::Producers,
    scan::{Scanner, Step},
    segment::{self, Sealed},
};
use crate::{
    disk,
    error::BrokerError,
    stats::{Stats, add},
};

/// A partition's log, read back.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub(super) sealed: Vec<Sealed>,
    /// The last segment; `None` when there is no segment at all.
    pub(super) active: Option<Index>,
    /// How much of the last segment its index file covers.
    pub(super) saved: u64,
    pub(super) producers: Producers,
}

/// Reads a partition back.
pub(super) fn recover(dir: &Path, producer_limit: usize, stats: &Stats) -> Result<Recovered, BrokerError> {
    let bases = segment::list(dir)?;
    let mut recovered = Recovered::default();
    let mut expected = bases.first().copied();
    for (at, &base_offset) in bases.iter().enumerate() {
        let path = segment::log_path(dir, base_offset);
        if expected != Some(base_offset) {
            let reason = "it does not begin where the segment before it ends";
            return Err(BrokerError::Damaged {
                path,
                position: 0,
                reason,
            });
        }
        let last = at + 1 == bases.len();
        let pass = Pass {
            dir,
            base_offset,
            last,
            producer_limit,
            stats,
        };
        let (index, saved) = pass.run(&mut recovered.producers)?;
        expected = Some(index.next_offset);
        if last {
            recovered.saved = saved;
            recovered.active = Some(index);
        } else {
            recovered.sealed.push(Sealed {
                base_offset,
                next_offset: index.next_offset,
                max_timestamp: index.max_timestamp,
            });
        }
    }
    Ok(recovered)
}

/// The recovery of one segment.
struct Pass<'a> {
    dir: &'a Path,
    base_offset: i64,
    last: bool,
    producer_limit: usize,
    stats: &'a Stats,
}

impl Pass<'_> {
    fn run(&self, producers: &mut Producers) -> Result<(Index, u64), BrokerError> {
        let path = segment::log_path(self.dir, self.base_offset);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(BrokerError::io("open", &path))?;
        let bytes = file.metadata().map_err(BrokerError::io("examine", &path))?.len();
        let mut index = self.saved_index(producers)?;
        let saved = index.position;
        if saved > bytes {
            let reason = "it is shorter than when it was last synced";
            return Err(BrokerError::Damaged {
                path,
                position: bytes,
                reason,
            });
        }
        if saved < bytes {
            self.scan(&path, &file, bytes, &mut index, producers)?;
        }
        if !self.last && saved < index.position {
            let to = segment::index_path(self.dir, self.base_offset);
            index
                .save(&to, producers)
                .map_err(BrokerError::io("write", &to))?;
        }
        Ok((index, saved))
    }

    /// The index file's contents; an empty index when it is missing, damaged, or another segment's.
    fn saved_index(&self, producers: &mut Producers) -> Result<Index, BrokerError> {
        let path = segment::index_path(self.dir, self.base_offset);
        let found = disk::read_if_present(&path)?.and_then(|bytes| Index::decode(&bytes));
        match found.filter(|(index, _)| index.base_offset == self.base_offset) {
            Some((index, known)) => {
                *producers = known;
                Ok(index)
            }
            None => Ok(Index::new(self.base_offset)),
        }
    }

    fn scan(
        &self,
        path: &Path,
        file: &File,
        bytes: u64,
        index: &mut Index,
        producers: &mut Producers,
    ) -> Result<(), BrokerError> {
        let mut scanner = Scanner::new(file, bytes, index.position, index.next_offset);
        add(&self.stats.recovery_bytes_scanned, bytes - index.position);
        loop {
            match scanner.step().map_err(BrokerError::io("read", path))? {
                Step::Batch(header) => {
                    index.note(&header);
                    producers.note(&header, self.producer_limit);
                }
                Step::End => return Ok(()),
                Step::Bad(reason) => return self.cut(path, file, bytes, scanner, reason),
            }
        }
    }

    /// Cuts a torn tail, or refuses.
    fn cut(
        &self,
        path: &Path,
        file: &File,
        bytes: u64,
        mut scanner: Scanner<'_>,
        reason: &'static str,
    ) -> Result<(), BrokerError> {
        let position = scanner.position();
        if !self.last
            || scanner
                .valid_batch_behind()
                .map_err(BrokerError::io("read", path))?
        {
            return Err(BrokerError::Damaged {
                path: path.to_owned(),
                position,
                reason,
            });
        }
        file.set_len(position)
            .and_then(|()| file.sync_all())
            .map_err(BrokerError::io("cut the torn tail of", path))?;
        add(&self.stats.torn_bytes_cut, bytes - position);
        warn!(file = %path.display(), position, bytes = bytes - position, reason, "torn tail of a log cut");
        Ok(())
    }
}
