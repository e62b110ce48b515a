//! Shapes: what a request's bytes must look like before the codec may see them.
//!
//! In: a description of fields and bytes. Out: whether the bytes have that form. Always: nothing is allocated,
//! and every length is covered by bytes that are there.

use bytes::Buf;

/// A request: its fields, and the version from which lengths are compact and structs carry tags.
pub(super) struct Shape {
    pub(super) flexible_from: i16,
    pub(super) fields: &'static [Field],
}

/// One field and the versions that have it.
pub(super) struct Field {
    pub(super) kind: Kind,
    pub(super) from: i16,
    pub(super) to: i16,
}

/// What a field holds.
pub(super) enum Kind {
    /// So many bytes: numbers, booleans, ids.
    Fixed(usize),
    /// A string, possibly null.
    Text,
    /// Bytes, possibly null.
    Bytes,
    /// Structs, possibly null.
    Structs(&'static [Field]),
    /// Strings or numbers, possibly null.
    Items(&'static Kind),
}

impl Shape {
    /// Walks the bytes; `None` when they are not of this shape.
    pub(super) fn check(&self, bytes: &mut &[u8], version: i16) -> Option<()> {
        let walk = Walk {
            version,
            flexible: version >= self.flexible_from,
        };
        walk.fields(bytes, self.fields)
    }
}

#[derive(Clone, Copy)]
struct Walk {
    version: i16,
    flexible: bool,
}

impl Walk {
    fn fields(self, bytes: &mut &[u8], fields: &[Field]) -> Option<()> {
        for field in fields.iter().filter(|f| (f.from..=f.to).contains(&self.version)) {
            self.kind(bytes, &field.kind)?;
        }
        if self.flexible { skip_tags(bytes) } else { Some(()) }
    }

    fn kind(self, bytes: &mut &[u8], kind: &Kind) -> Option<()> {
        match kind {
            Kind::Fixed(size) => skip(bytes, *size),
            Kind::Text => self.length(bytes, 2).and_then(|length| skip(bytes, length)),
            Kind::Bytes => self.length(bytes, 4).and_then(|length| skip(bytes, length)),
            Kind::Structs(fields) => (0..self.length(bytes, 4)?).try_for_each(|_| self.fields(bytes, fields)),
            Kind::Items(item) => (0..self.length(bytes, 4)?).try_for_each(|_| self.kind(bytes, item)),
        }
    }

    /// A length, 0 for null. Elements take at least a byte each, so that a greater one ends the walk soon.
    fn length(self, bytes: &mut &[u8], size: usize) -> Option<usize> {
        let length = match (self.flexible, size) {
            (true, _) => i64::from(unsigned_varint(bytes)?) - 1,
            (false, 2) => i64::from(bytes.try_get_i16().ok()?),
            (false, _) => i64::from(bytes.try_get_i32().ok()?),
        };
        usize::try_from(length.max(0))
            .ok()
            .filter(|length| *length <= bytes.remaining())
    }
}

/// Passes over a struct's tagged fields.
pub(super) fn skip_tags<B: Buf>(bytes: &mut B) -> Option<()> {
    for _ in 0..unsigned_varint(bytes)? {
        unsigned_varint(bytes)?;
        let size = usize::try_from(unsigned_varint(bytes)?).ok()?;
        skip(bytes, size)?;
    }
    Some(())
}

fn skip<B: Buf>(bytes: &mut B, size: usize) -> Option<()> {
    (bytes.remaining() >= size).then(|| bytes.advance(size))
}

fn unsigned_varint<B: Buf>(bytes: &mut B) -> Option<u32> {
    let mut value = 0_u32;
    for shift in (0..35).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
