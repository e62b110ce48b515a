//! Records: the little that the broker ever looks at inside a batch.
//!
//! In: a batch. Out: the first record with a given time or a later one. Always: reads never pass the bytes
//! given; lengths are believed only as far as there are bytes.

use bytes::{Buf, Bytes};
use kafka_protocol::compression::{Decompressor, Gzip, Lz4, Snappy, Zstd};

use super::batch::{HEADER_BYTES, Header};

/// The offset and time of the first record at or after `timestamp`; `None` when records cannot be read.
pub(crate) fn first_at_or_after(header: &Header, batch: &[u8], timestamp: i64) -> Option<(i64, i64)> {
    let packed = Bytes::copy_from_slice(batch.get(HEADER_BYTES..header.bytes)?);
    let mut records = unpack(header.codec(), packed)?;
    for _ in 0..header.records {
        let length = usize::try_from(varint(&mut records)?).ok()?;
        if length > records.len() {
            return None;
        }
        let mut record = records.split_to(length);
        record.try_get_u8().ok()?;
        let time = header.base_timestamp.checked_add(varint(&mut record)?)?;
        let offset = header.base_offset.checked_add(varint(&mut record)?)?;
        if time >= timestamp {
            return Some((offset, time));
        }
    }
    None
}

fn unpack(codec: i16, mut packed: Bytes) -> Option<Bytes> {
    let whole = |bytes: &mut Bytes| Ok(std::mem::take(bytes));
    match codec {
        0 => Some(packed),
        1 => Gzip::decompress(&mut packed, |b| Ok(b.copy_to_bytes(b.remaining()))).ok(),
        2 => Snappy::decompress(&mut packed, |b| Ok(b.copy_to_bytes(b.remaining()))).ok(),
        3 => Lz4::decompress(&mut packed, |b| Ok(b.copy_to_bytes(b.remaining()))).ok(),
        4 => Zstd::decompress(&mut packed, whole).ok(),
        _ => None,
    }
}

/// A zigzag varint of at most ten bytes.
fn varint(from: &mut Bytes) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = from.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{
        super::batch::tests::{batch, varint as put},
        *,
    };

    #[test]
    fn varints_read_back() {
        for value in [0, 1, -1, 63, 64, -65, 300, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(varint(&mut Bytes::from(bytes)), Some(value));
        }
    }

    #[test]
    fn a_time_is_found_in_its_record() {
        let bytes = batch((-1, -1, -1), 5_000, 3, b"v");
        let header = Header::check(&bytes).unwrap();
        assert_eq!(first_at_or_after(&header, &bytes, 4_000), Some((0, 5_000)));
        assert_eq!(first_at_or_after(&header, &bytes, 5_001), None);
    }

    proptest::proptest! {
        #[test]
        fn noise_is_no_record_and_no_panic(noise: Vec<u8>, codec in 0_i16..8, records in 1..i32::MAX) {
            let mut bytes = batch((-1, -1, -1), 0, 1, b"v");
            bytes.truncate(HEADER_BYTES);
            bytes.extend_from_slice(&noise);
            let parsed = Header::parse(&batch((-1, -1, -1), 0, 1, b"v")).unwrap();
            let header = Header { bytes: bytes.len(), attributes: codec, records, ..parsed };
            let _ = first_at_or_after(&header, &bytes, i64::MAX);
        }
    }
}
