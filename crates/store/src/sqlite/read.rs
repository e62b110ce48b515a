//! Reads: rows into answers.
//!
//! In: a connection inside a read transaction, a tenant and a question. Out: the answer.
//! Always: every statement begins with the tenant (the schedule's with its partition), and none returns a row
//! whose time is over.

use carillon_schemas::{envelope::Envelope, status::Stamp};
use rusqlite::{Error, Row, types::Type};

mod deliveries;
mod letters;
mod notifications;
mod page;
mod recent;
mod schedule;

pub(super) use deliveries::{deliveries, stored};
pub(super) use letters::{audit_trail, dead_letter, dead_letters, job};
pub(super) use notifications::{heads, latest, notification};
pub(super) use recent::recent;
pub(super) use schedule::due;

fn stamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Stamp> {
    let packed = row.get(column)?;
    Stamp::unpack(packed).ok_or(Error::IntegralValueOutOfRange(column, packed))
}

fn milliseconds(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let ms = row.get(column)?;
    u64::try_from(ms).map_err(|_| Error::IntegralValueOutOfRange(column, ms))
}

fn parsed<T>(text: &str, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse()
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

fn envelope(bytes: &[u8], column: usize) -> rusqlite::Result<Envelope> {
    Envelope::from_json(bytes)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error)))
}

/// What was kept as it is shown.
fn shown<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// What a name stands for.
fn named<T>(of: Option<T>, column: usize) -> rusqlite::Result<T> {
    of.ok_or_else(|| Error::FromSqlConversionFailure(column, Type::Text, "an unknown name".into()))
}
