//! Reading: records by offset, and offsets by time.
//!
//! In: an offset or a timestamp. Out: whole batches, as they were sent, or an offset. Always: nothing at or
//! beyond the high watermark is given out; what is not in memory is read on a blocking thread, and a batch
//! from a file whose checksum does not match is never given out.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tracing::error;

use super::{
    batch::{HEADER_BYTES, Header},
    index::Index,
    open_files::Slot,
    partition::{Log, Partition},
    records, segment,
};
use crate::stats::add;

/// Bytes read at once when looking for one batch.
const PROBE: usize = 64 * 1024;

/// Why nothing could be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("there is no such offset")]
    OutOfRange,
    #[error("the topic was deleted")]
    Deleted,
    #[error("the log cannot be read")]
    Storage,
}

/// Where in which file to begin.
struct Place {
    file: Source,
    from: u64,
    to: u64,
}

enum Source {
    Active(Arc<Slot>),
    Sealed(PathBuf),
}

impl Partition {
    /// Whether an offset can be read, or waited for.
    pub(crate) fn admits(&self, offset: i64) -> Result<(), ReadError> {
        if (self.start_offset()..=self.high_watermark()).contains(&offset) {
            return Ok(());
        }
        // A consumer that was here before the last sync may stand between the watermark and the end.
        match offset > 0 && offset <= self.log.lock().next_offset {
            true => Ok(()),
            false => Err(ReadError::OutOfRange),
        }
    }

    /// Batches from memory: at most `max_bytes`, at least one if so asked. `None` when they are not there.
    pub(crate) fn read_tail(&self, offset: i64, max_bytes: usize, at_least_one: bool) -> Option<Bytes> {
        let end = self.high_watermark();
        if offset >= end {
            return Some(Bytes::new());
        }
        self.log.lock().tail.read(offset, end, max_bytes, at_least_one)
    }

    /// Bytes that can be read now, as far as `bytes` matter; those on disk always count as enough.
    pub(crate) fn has(&self, offset: i64, bytes: usize) -> usize {
        let end = self.high_watermark();
        if offset >= end {
            return 0;
        }
        if bytes <= 1 {
            return 1;
        }
        self.log.lock().tail.available(offset, end).unwrap_or(bytes)
    }

    /// Batches from the files. Blocks.
    pub(crate) fn read_files(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Bytes, ReadError> {
        add(&self.environment.stats.fetches_from_disk, 1);
        let end = self.high_watermark();
        let place = self.place(offset)?;
        let read = || {
            let (file, place) = self.open_at(place, |index| index.seek(offset))?;
            collect(&file, &place, offset, end, max_bytes, at_least_one)
        };
        self.told(read())
    }

    /// First offset whose record has this time or a later one, and that record's time. Blocks.
    pub(crate) fn offset_at(&self, timestamp: i64) -> Result<Option<(i64, i64)>, ReadError> {
        let end = self.high_watermark();
        let bases: Vec<i64> = {
            let log = self.log.lock();
            let sealed = log
                .sealed
                .iter()
                .filter(|s| s.max_timestamp >= timestamp)
                .map(|s| s.base_offset);
            sealed
                .chain(log.active.iter().map(|a| a.index.base_offset))
                .collect()
        };
        for base in bases {
            let place = self.place_where(base, |index| index.seek_time(timestamp))?;
            let search = || {
                let (file, place) = self.open_at(place, |index| index.seek_time(timestamp))?;
                find_time(&file, &place, timestamp)
            };
            if let Some(found) = self.told(search())? {
                return Ok(Some(found).filter(|(offset, _)| *offset < end));
            }
        }
        Ok(None)
    }

    /// Greatest timestamp and the offset behind the last record: where a reader "by greatest time" begins.
    pub(crate) fn newest(&self) -> Option<(i64, i64)> {
        let greatest = {
            let log = self.log.lock();
            let sealed = log.sealed.iter().map(|s| s.max_timestamp);
            sealed
                .chain(log.active.iter().map(|a| a.index.max_timestamp))
                .max()
        };
        greatest.and_then(|timestamp| self.offset_at(timestamp).ok().flatten())
    }

    /// The time of the last batch, if the broker gave it; what cannot be read counts as none. Blocks: asked once
    /// after a start.
    pub(super) fn last_stamp(&self, log: &Log) -> i64 {
        let last = |index: &Index| index.seek(i64::MAX);
        let written = log.active.as_ref().filter(|a| a.index.position > 0);
        let place = match (written, log.sealed.last()) {
            (Some(active), _) => Place {
                file: Source::Active(Arc::clone(&active.slot)),
                from: last(&active.index),
                to: active.index.position,
            },
            (None, Some(sealed)) => Place {
                file: Source::Sealed(segment::log_path(&self.dir, sealed.base_offset)),
                from: 0,
                to: 0,
            },
            (None, None) => return 0,
        };
        let search = || {
            let (file, place) = self.open_at(place, last)?;
            find(&file, &place, |header| header.next_offset() == log.next_offset)
        };
        let found = self.told(search()).ok().flatten();
        found.map_or(0, |(_, header)| match header.log_append_time() {
            true => header.max_timestamp,
            false => 0,
        })
    }

    fn place(&self, offset: i64) -> Result<Place, ReadError> {
        let base = {
            let log = self.log.lock();
            let at = log.sealed.partition_point(|s| s.next_offset <= offset);
            log.sealed.get(at).map_or_else(
                || log.active.as_ref().map(|a| a.index.base_offset),
                |sealed| Some(sealed.base_offset),
            )
        };
        self.place_where(base.ok_or(ReadError::OutOfRange)?, |index| index.seek(offset))
    }

    /// The segment with this base; its index is asked if it is the active one.
    fn place_where(&self, base: i64, seek: impl Fn(&Index) -> u64) -> Result<Place, ReadError> {
        let log: &Log = &self.log.lock();
        if log.deleted {
            return Err(ReadError::Deleted);
        }
        Ok(
            match log.active.as_ref().filter(|a| a.index.base_offset == base) {
                Some(active) => Place {
                    file: Source::Active(Arc::clone(&active.slot)),
                    from: seek(&active.index),
                    to: active.index.position,
                },
                None => Place {
                    file: Source::Sealed(segment::log_path(&self.dir, base)),
                    from: 0,
                    to: 0,
                },
            },
        )
    }

    /// Opens the file; a sealed segment's index is read for where to begin.
    fn open_at(&self, place: Place, seek: impl Fn(&Index) -> u64) -> io::Result<(Arc<File>, Place)> {
        match &place.file {
            Source::Active(slot) => Ok((self.environment.files.get(slot)?, place)),
            Source::Sealed(path) => {
                let file = File::open(path)?;
                let to = file.metadata()?.len();
                let from = saved_index(path)?.map_or(0, |index| seek(&index));
                Ok((Arc::new(file), Place { from, to, ..place }))
            }
        }
    }

    /// A reader asks again and again; the same trouble is logged once.
    fn told<T>(&self, result: io::Result<T>) -> Result<T, ReadError> {
        result.map_err(|error| {
            let trouble = error.to_string();
            let mut told = self.told_trouble.lock();
            if *told != trouble {
                error!(dir = %self.dir.display(), error = %error, "log cannot be read");
                *told = trouble;
            }
            ReadError::Storage
        })
    }
}

fn saved_index(log: &Path) -> io::Result<Option<Index>> {
    match std::fs::read(log.with_extension("index")) {
        Ok(bytes) => Ok(Index::decode(&bytes).map(|(index, _)| index)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn collect(
    file: &File,
    place: &Place,
    offset: i64,
    end: i64,
    max_bytes: usize,
    at_least_one: bool,
) -> io::Result<Bytes> {
    let Some((mut at, first)) = find(file, place, |header| header.next_offset() > offset)? else {
        return Ok(Bytes::new());
    };
    if first.next_offset() > end || (first.bytes > max_bytes && !at_least_one) {
        return Ok(Bytes::new());
    }
    let bytes = read_at_most(file, at, first.bytes.max(max_bytes), place.to)?;
    let from = at;
    while let Some(rest) = usize::try_from(at - from).ok().and_then(|used| bytes.get(used..)) {
        let whole = match Header::parse(rest) {
            Ok(next) if next.next_offset() <= end => rest.get(..next.bytes),
            _ => break,
        };
        let Some(batch) = whole else { break };
        match Header::check(batch) {
            Ok(_) => at += batch.len() as u64,
            Err(_) if at == from => return Err(damaged(at)),
            Err(_) => break,
        }
    }
    Ok(Bytes::from(bytes).slice(..usize::try_from(at - from).unwrap_or(0)))
}

/// What was written whole is not whole any more. Only the disk, or a hand, does that.
fn damaged(at: u64) -> io::Error {
    let text = format!("damaged at byte {at} (checksum does not match): restore the file from a backup");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The first batch from the place on that is wanted, and where it stands.
fn find(file: &File, place: &Place, wanted: impl Fn(&Header) -> bool) -> io::Result<Option<(u64, Header)>> {
    let (mut at, mut window_at, mut window) = (place.from, place.from, Vec::new());
    while at < place.to {
        let mut rest = usize::try_from(at - window_at)
            .ok()
            .and_then(|used| window.get(used..))
            .unwrap_or(&[]);
        if rest.len() < HEADER_BYTES {
            window = read_at_most(file, at, PROBE, place.to)?;
            window_at = at;
            rest = &window;
        }
        let header = Header::parse(rest).map_err(|_| damaged(at))?;
        if wanted(&header) {
            return Ok(Some((at, header)));
        }
        at += header.bytes as u64;
    }
    Ok(None)
}

fn find_time(file: &File, place: &Place, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
    let Some((at, header)) = find(file, place, |header| header.max_timestamp >= timestamp)? else {
        return Ok(None);
    };
    if header.log_append_time() {
        return Ok(Some((header.base_offset, header.max_timestamp)));
    }
    let batch = read_at_most(file, at, header.bytes, place.to)?;
    let exact = records::first_at_or_after(&header, &batch, timestamp);
    // Records that cannot be read stand for their batch: earlier is safe, later would skip some.
    Ok(Some(exact.unwrap_or((header.base_offset, header.base_timestamp))))
}

fn read_at_most(file: &File, at: u64, bytes: usize, end: u64) -> io::Result<Vec<u8>> {
    let there = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
    let mut buffer = vec![0; bytes.min(there)];
    file.read_exact_at(&mut buffer, at)?;
    Ok(buffer)
}
