//! Indexes: where in a segment an offset or a time is to be looked for.
//!
//! In: batches as they are appended or scanned. Out: a position to start reading from. Always: an index is
//! derived from its segment and can be rebuilt; its file carries a checksum, and how far it reaches.

use std::{collections::VecDeque, io, path::Path};

use bytes::{Buf, BufMut};

use super::{
    batch::Header,
    producers::{Producer, Producers, Sent},
};
use crate::disk;

/// One entry per this many bytes of log: 24 bytes for 16 KiB.
const INTERVAL: u64 = 16 * 1024;
const MAGIC: u32 = 0x4349_5831;
const ENTRY_BYTES: usize = 24;
const SENT_BYTES: usize = 16;

/// What is known of a segment up to `position`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// First offset of the segment.
    pub(super) base_offset: i64,
    /// Bytes of the segment that this index covers.
    pub(super) position: u64,
    /// Offset of the record behind them.
    pub(super) next_offset: i64,
    /// Greatest timestamp among them; -1 when there is none.
    pub(super) max_timestamp: i64,
    pub(super) entries: Vec<Entry>,
}

/// A batch that starts at `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: i64,
    pub(super) position: u64,
    /// Greatest timestamp of all batches before it in the segment.
    pub(super) max_timestamp_before: i64,
}

impl Index {
    /// The index of an empty segment.
    pub(super) fn new(base_offset: i64) -> Self {
        Self {
            base_offset,
            position: 0,
            next_offset: base_offset,
            max_timestamp: -1,
            entries: Vec::new(),
        }
    }

    /// Takes note of the next batch.
    pub(super) fn note(&mut self, header: &Header) {
        let due = self.entries.last().map_or(0, |e| e.position + INTERVAL);
        if self.position >= due {
            self.entries.push(Entry {
                offset: header.base_offset,
                position: self.position,
                max_timestamp_before: self.max_timestamp,
            });
        }
        self.position += header.bytes as u64;
        self.next_offset = header.next_offset();
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
    }

    /// Where to start looking for an offset.
    pub(super) fn seek(&self, offset: i64) -> u64 {
        let behind = self.entries.partition_point(|e| e.offset <= offset);
        behind.checked_sub(1).map_or(0, |at| self.entries[at].position)
    }

    /// Where to start looking for the first batch with this time or a later one.
    pub(super) fn seek_time(&self, timestamp: i64) -> u64 {
        let behind = self
            .entries
            .partition_point(|e| e.max_timestamp_before < timestamp);
        behind.checked_sub(1).map_or(0, |at| self.entries[at].position)
    }

    /// Writes the index and the producers known at its end, whole or not at all.
    pub(super) fn save(&self, path: &Path, producers: &Producers) -> io::Result<()> {
        disk::write_atomically(path, &self.encode(producers))
    }

    fn encode(&self, producers: &Producers) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.entries.len() * ENTRY_BYTES + producers.len() * 100);
        out.put_u32(MAGIC);
        out.put_i64(self.base_offset);
        out.put_u64(self.position);
        out.put_i64(self.next_offset);
        out.put_i64(self.max_timestamp);
        out.put_u64(self.entries.len() as u64);
        out.put_u64(producers.len() as u64);
        for entry in &self.entries {
            out.put_i64(entry.offset);
            out.put_u64(entry.position);
            out.put_i64(entry.max_timestamp_before);
        }
        for (id, producer) in producers.iter() {
            out.put_i64(id);
            out.put_i16(producer.epoch);
            out.put_u16(u16::try_from(producer.batches.len()).unwrap_or(0));
            for sent in &producer.batches {
                out.put_i32(sent.first);
                out.put_i32(sent.last);
                out.put_i64(sent.base_offset);
            }
        }
        let checksum = crc32c::crc32c(&out);
        out.put_u32(checksum);
        out
    }

    /// Reads what [`Index::save`] wrote; `None` for anything else, which is then rebuilt.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, Producers)> {
        let (mut rest, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(rest) != u32::from_be_bytes(*checksum) || rest.try_get_u32().ok()? != MAGIC {
            return None;
        }
        let mut index = Self::new(rest.try_get_i64().ok()?);
        index.position = rest.try_get_u64().ok()?;
        index.next_offset = rest.try_get_i64().ok()?;
        index.max_timestamp = rest.try_get_i64().ok()?;
        let entries = usize::try_from(rest.try_get_u64().ok()?).ok()?;
        let producers = rest.try_get_u64().ok()?;
        if rest.remaining() / ENTRY_BYTES < entries {
            return None;
        }
        for _ in 0..entries {
            index.entries.push(Entry {
                offset: rest.get_i64(),
                position: rest.get_u64(),
                max_timestamp_before: rest.get_i64(),
            });
        }
        let mut known = Producers::default();
        for _ in 0..producers {
            let (id, producer) = decode_producer(&mut rest)?;
            known.insert(id, producer);
        }
        Some((index, known))
    }
}

fn decode_producer(rest: &mut &[u8]) -> Option<(i64, Producer)> {
    let id = rest.try_get_i64().ok()?;
    let epoch = rest.try_get_i16().ok()?;
    let count = usize::from(rest.try_get_u16().ok()?);
    if rest.remaining() / SENT_BYTES < count {
        return None;
    }
    let batches: VecDeque<Sent> = (0..count)
        .map(|_| Sent {
            first: rest.get_i32(),
            last: rest.get_i32(),
            base_offset: rest.get_i64(),
        })
        .collect();
    Some((id, Producer { epoch, batches }))
}

#[cfg(test)]
mod tests {
    use super::{super::batch::tests::batch, *};

    fn filled() -> (Index, Producers) {
        let (mut index, mut producers) = (Index::new(100), Producers::default());
        for i in 0..200_i32 {
            let bytes = batch((i64::from(i % 7), 0, i / 7), i64::from(i) * 10, 1, &[0; 1000]);
            let base_offset = 100 + i64::from(i);
            let header = Header {
                base_offset,
                ..Header::check(&bytes).unwrap()
            };
            index.note(&header);
            producers.note(&header, 100);
        }
        (index, producers)
    }

    #[test]
    fn a_saved_index_reads_back_and_a_damaged_one_does_not() {
        let (index, producers) = filled();
        let bytes = index.encode(&producers);
        assert_eq!(Index::decode(&bytes), Some((index, producers)));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            assert_eq!(Index::decode(&bad), None, "byte {at}");
            assert_eq!(Index::decode(&bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn looking_up_never_starts_behind_what_is_looked_for() {
        let (index, _) = filled();
        assert!(index.entries.len() > 5);
        let bytes_each = index.position / 200;
        for i in 0..200_u64 {
            let offset = 100 + i64::try_from(i).unwrap();
            let found = index.seek(offset);
            assert!(found <= i * bytes_each && i * bytes_each - found <= INTERVAL + bytes_each);
            assert!(index.seek_time(i64::try_from(i).unwrap() * 10) <= i * bytes_each);
        }
    }
}
