//! The log: one partition's records, in segments on disk.
//!
//! In: record batches as clients sent them. Out: the same bytes, by offset or by time. Always: batches stand
//! one behind the other with rising offsets; sealed segments never change.

pub(crate) mod batch;
mod index;
pub(crate) mod open_files;
pub(crate) mod partition;
mod producers;
mod read;
pub(crate) mod records;
mod recovery;
mod scan;
mod segment;
mod sync;
mod tail;

pub(crate) use partition::{AppendError, Appended, Partition};
pub(crate) use read::ReadError;
