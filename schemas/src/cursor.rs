//! Cursors: where in a stream a client stands.
//!
//! In: a position (topic generation, shard, offset) or a client's text. Out: the other one.
//! Always: a cursor is only a position and carries no right; who reads with it still filters by tenant.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The last position a client has seen of a stream. Opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub struct Cursor {
    /// Generation of the deliveries topic: grows when the number of shards changes.
    pub generation: u16,
    /// Shard: the partition of the deliveries topic.
    pub shard: u16,
    /// Kafka offset of the last record seen; −1 stands before the first.
    pub offset: i64,
}

/// The text is not a cursor that we ever handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor")]
pub struct CursorError;

const LONGEST_TEXT: usize = 24;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0u8; 18];
        let mut len = 0;
        let next = u64::try_from(self.offset.saturating_add(1)).unwrap_or(0);
        for value in [u64::from(self.generation), u64::from(self.shard), next] {
            len = put_varint(&mut bytes, len, value);
        }
        let mut text = [0u8; LONGEST_TEXT];
        let written = URL_SAFE_NO_PAD
            .encode_slice(&bytes[..len], &mut text)
            .map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&text[..written]).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        if text.len() > LONGEST_TEXT {
            return Err(CursorError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let mut rest = bytes.as_slice();
        let generation = u16::try_from(take_varint(&mut rest)?).map_err(|_| CursorError)?;
        let shard = u16::try_from(take_varint(&mut rest)?).map_err(|_| CursorError)?;
        let next = i64::try_from(take_varint(&mut rest)?).map_err(|_| CursorError)?;
        if !rest.is_empty() {
            return Err(CursorError);
        }
        Ok(Self {
            generation,
            shard,
            offset: next - 1,
        })
    }
}

fn put_varint(out: &mut [u8; 18], mut at: usize, mut value: u64) -> usize {
    while value >= 0x80 {
        out[at] = (value as u8 & 0x7f) | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, CursorError> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let (&byte, tail) = rest.split_first().ok_or(CursorError)?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(CursorError)
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_reads_back_what_it_writes(generation: u16, shard: u16, offset in -1i64..i64::MAX - 1) {
            let cursor = Cursor { generation, shard, offset };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            let _ = text.parse::<Cursor>();
        }
    }

    #[test]
    fn a_truncated_or_overlong_cursor_is_refused() {
        for bad in ["", "A", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "____________"] {
            assert_eq!(bad.parse::<Cursor>(), Err(CursorError), "{bad}");
        }
    }
}
