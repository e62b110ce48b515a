//! Scanning: reading a segment batch by batch and trusting nothing.
//!
//! In: a segment file and where to begin. Out: headers of batches whose checksum holds, then the end or the
//! first bad byte. Always: memory is bounded by the greater of a chunk and one batch of the file.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::batch::{BatchError, HEADER_BYTES, Header};

const CHUNK: u64 = 1024 * 1024;

/// A pass over one segment.
pub(super) struct Scanner<'a> {
    file: &'a File,
    end: u64,
    position: u64,
    next_offset: i64,
    window: Vec<u8>,
    window_at: u64,
}

/// What stands at the scanner's position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Batch(Header),
    End,
    Bad(&'static str),
}

impl<'a> Scanner<'a> {
    /// Begins at a position where the batch with `next_offset` should stand.
    pub(super) fn new(file: &'a File, end: u64, position: u64, next_offset: i64) -> Self {
        Self {
            file,
            end,
            position,
            next_offset,
            window: Vec::new(),
            window_at: position,
        }
    }

    /// Where the next batch begins, or where the bad bytes do.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Checks the batch at the position and moves behind it.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        if self.position == self.end {
            return Ok(Step::End);
        }
        if self.end - self.position < HEADER_BYTES as u64 {
            return Ok(Step::Bad("header cut short"));
        }
        let header = match Header::parse(self.view(HEADER_BYTES)?) {
            Ok(header) => header,
            Err(error) => return Ok(Step::Bad(reason(error))),
        };
        if self.end - self.position < header.bytes as u64 {
            return Ok(Step::Bad("batch cut short"));
        }
        if let Err(error) = Header::check(self.view(header.bytes)?) {
            return Ok(Step::Bad(reason(error)));
        }
        if header.base_offset != self.next_offset {
            return Ok(Step::Bad("offset out of order"));
        }
        self.position += header.bytes as u64;
        self.next_offset = header.next_offset();
        Ok(Step::Batch(header))
    }

    /// Whether a valid later batch starts anywhere behind the position: then the bad bytes are no torn tail.
    pub(super) fn valid_batch_behind(&mut self) -> io::Result<bool> {
        let rest = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let bad_at = self.position;
        self.window = Vec::new();
        let mut bytes = vec![0; rest];
        self.file.read_exact_at(&mut bytes, bad_at)?;
        Ok((1..rest.saturating_sub(HEADER_BYTES)).any(|at| self.is_later_batch(&bytes[at..])))
    }

    fn is_later_batch(&self, bytes: &[u8]) -> bool {
        let Ok(header) = Header::parse(bytes) else {
            return false;
        };
        header.base_offset >= self.next_offset
            && bytes
                .get(..header.bytes)
                .is_some_and(|batch| Header::check(batch).is_ok())
    }

    /// Bytes at the position; the caller knows that the file has them.
    fn view(&mut self, bytes: usize) -> io::Result<&[u8]> {
        let reaches = self.window_at + self.window.len() as u64;
        if self.position < self.window_at || self.position + bytes as u64 > reaches {
            let wanted = CHUNK.min(self.end - self.position).max(bytes as u64);
            self.window.resize(usize::try_from(wanted).unwrap_or(bytes), 0);
            self.window_at = self.position;
            self.file.read_exact_at(&mut self.window, self.position)?;
        }
        let from = usize::try_from(self.position - self.window_at).unwrap_or(0);
        Ok(&self.window[from..from + bytes])
    }
}

fn reason(error: BatchError) -> &'static str {
    match error {
        BatchError::Length => "length is impossible",
        BatchError::Magic => "no record batch",
        BatchError::Checksum => "checksum does not match",
        BatchError::Attributes | BatchError::Counts => "counts contradict one another",
    }
}
