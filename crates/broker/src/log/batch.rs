//! Batches: the one format that records have on the wire and on disk (Kafka's v2).
//!
//! In: bytes of a client or a file. Out: the header's facts, or why it is none. Always: reads never pass the
//! bytes given; records are not looked at, and compressed ones stay compressed.

/// Bytes of a batch before its records.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes before those that the length field counts.
const LENGTH_OVERHEAD: usize = 12;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const CHECKED_FROM: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
const CODEC: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;

/// What a batch says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    /// Of the whole batch, this header included.
    pub(crate) bytes: usize,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records: i32,
}

/// Why bytes are no batch that can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchError {
    /// Fewer bytes than the header or its length says, or more.
    Length,
    /// A message set from before Kafka 0.11, or noise.
    Magic,
    /// The checksum does not match.
    Checksum,
    /// Control or transactional records, or an unknown codec.
    Attributes,
    /// Counts or offsets that contradict one another.
    Counts,
}

impl Header {
    /// Reads the first batch's header. The batch itself may go on beyond the bytes given.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(BatchError::Length)?;
        if header[MAGIC_AT] != 2 {
            return Err(BatchError::Magic);
        }
        let length = usize::try_from(i32_at(header, 8)).map_err(|_| BatchError::Length)?;
        let parsed = Self {
            base_offset: i64_at(header, 0),
            bytes: length + LENGTH_OVERHEAD,
            crc: i32_at(header, CRC_AT).cast_unsigned(),
            attributes: i16_at(header, 21),
            last_offset_delta: i32_at(header, 23),
            base_timestamp: i64_at(header, 27),
            max_timestamp: i64_at(header, MAX_TIMESTAMP_AT),
            producer_id: i64_at(header, 43),
            producer_epoch: i16_at(header, 51),
            base_sequence: i32_at(header, 53),
            records: i32_at(header, 57),
        };
        if parsed.bytes < HEADER_BYTES {
            return Err(BatchError::Length);
        }
        if parsed.records < 1 || parsed.last_offset_delta != parsed.records - 1 {
            return Err(BatchError::Counts);
        }
        Ok(parsed)
    }

    /// Reads a header whose batch is exactly the bytes given, and checks the checksum.
    pub(crate) fn check(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = Self::parse(bytes)?;
        if header.bytes != bytes.len() {
            return Err(BatchError::Length);
        }
        if crc32c::crc32c(&bytes[CHECKED_FROM..]) != header.crc {
            return Err(BatchError::Checksum);
        }
        Ok(header)
    }

    /// Whether a producer may send this: no control batch, no transaction, a known codec, sane counts.
    pub(crate) fn acceptable(&self) -> Result<(), BatchError> {
        // Bits 4 and 5 are transactions and control records.
        let known = LOG_APPEND_TIME | CODEC;
        if self.attributes & !known != 0 || self.attributes & CODEC > 4 {
            return Err(BatchError::Attributes);
        }
        // The smallest record takes seven bytes; compression hides how many there are.
        let room = self.bytes - HEADER_BYTES;
        let records = usize::try_from(self.records).map_err(|_| BatchError::Counts)?;
        if self.codec() == 0 && records > room / 7 {
            return Err(BatchError::Counts);
        }
        if self.producer_id >= 0 && (self.base_sequence < 0 || self.producer_epoch < 0) {
            return Err(BatchError::Counts);
        }
        Ok(())
    }

    /// Offset behind the last record.
    pub(crate) fn next_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.records))
    }

    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub(crate) fn codec(&self) -> i16 {
        self.attributes & CODEC
    }

    /// Whether all records count as written when the broker got them.
    pub(crate) fn log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }
}

/// Puts a batch at its place in the log; these fields are outside the checksum.
pub(crate) fn place(batch: &mut [u8], base_offset: i64) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[LEADER_EPOCH_AT..MAGIC_AT].copy_from_slice(&0_i32.to_be_bytes());
}

/// Marks a checked batch with the time the broker got it, and renews the checksum.
pub(crate) fn stamp(batch: &mut [u8], header: &mut Header, now_ms: i64) {
    header.attributes |= LOG_APPEND_TIME;
    header.max_timestamp = now_ms;
    batch[CHECKED_FROM..23].copy_from_slice(&header.attributes.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..43].copy_from_slice(&now_ms.to_be_bytes());
    header.crc = crc32c::crc32c(&batch[CHECKED_FROM..]);
    batch[CRC_AT..CHECKED_FROM].copy_from_slice(&header.crc.to_be_bytes());
}

fn i16_at(header: &[u8; HEADER_BYTES], at: usize) -> i16 {
    i16::from_be_bytes([header[at], header[at + 1]])
}

fn i32_at(header: &[u8; HEADER_BYTES], at: usize) -> i32 {
    i32::from_be_bytes(std::array::from_fn(|i| header[at + i]))
}

fn i64_at(header: &[u8; HEADER_BYTES], at: usize) -> i64 {
    i64::from_be_bytes(std::array::from_fn(|i| header[at + i]))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A batch of `records` uncompressed records with `value` each, as a producer would send it.
    pub(crate) fn batch(producer: (i64, i16, i32), timestamp: i64, records: i32, value: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for i in 0..records {
            let mut record = vec![0, 0];
            varint(&mut record, i64::from(i));
            varint(&mut record, -1);
            varint(&mut record, i64::try_from(value.len()).unwrap());
            record.extend_from_slice(value);
            varint(&mut record, 0);
            varint(&mut body, i64::try_from(record.len()).unwrap());
            body.extend_from_slice(&record);
        }
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend_from_slice(&body);
        let length = i32::try_from(bytes.len() - LENGTH_OVERHEAD).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[MAGIC_AT] = 2;
        bytes[23..27].copy_from_slice(&(records - 1).to_be_bytes());
        bytes[27..35].copy_from_slice(&timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&producer.0.to_be_bytes());
        bytes[51..53].copy_from_slice(&producer.1.to_be_bytes());
        bytes[53..57].copy_from_slice(&producer.2.to_be_bytes());
        bytes[57..61].copy_from_slice(&records.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[CHECKED_FROM..]);
        bytes[CRC_AT..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    pub(crate) fn varint(to: &mut Vec<u8>, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest >= 0x80 {
            to.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        to.push(u8::try_from(rest).unwrap());
    }

    #[test]
    fn any_flipped_bit_behind_the_length_is_noticed() {
        let good = batch((7, 1, 3), 1_000, 2, b"hello");
        let header = Header::check(&good).unwrap();
        assert_eq!(
            (header.records, header.producer_id, header.base_sequence),
            (2, 7, 3)
        );
        for at in MAGIC_AT..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(Header::check(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_stamped_batch_still_has_a_valid_checksum() {
        let mut bytes = batch((-1, -1, -1), 1_000, 3, b"x");
        let mut header = Header::check(&bytes).unwrap();
        stamp(&mut bytes, &mut header, 5_000);
        place(&mut bytes, 42);
        let again = Header::check(&bytes).unwrap();
        assert!(again.log_append_time());
        assert_eq!(
            (again.max_timestamp, again.base_offset, again.next_offset()),
            (5_000, 42, 45)
        );
    }

    proptest::proptest! {
        #[test]
        fn noise_is_refused_without_a_panic(noise: Vec<u8>) {
            let _ = Header::check(&noise);
            let _ = Header::parse(&noise);
        }
    }
}
