//! Seeded bugs: wrong on purpose, so that the checker of fault runs is checked.
//!
//! In: a bug's name. Out: one promise of this crate that is broken. Always: compiled with the feature
//! `seeded-bugs` alone, and off until one is chosen.

use std::str::FromStr;

use carillon_bus::Record;
use carillon_schemas::{envelope::Envelope, headers};

/// A promise to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeededBug {
    /// Offsets are let go before the store has the notification: `ack_before_store`.
    AckBeforeStore,
    /// A dead letter that cannot be written is forgotten: `drop_failed_dead_letter`.
    DropFailedDeadLetter,
    /// The tenant is whoever the envelope names: `skip_tenant_check`.
    SkipTenantCheck,
}

/// The name is no bug of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be ack_before_store, drop_failed_dead_letter or skip_tenant_check")]
pub struct SeededBugError;

impl FromStr for SeededBug {
    type Err = SeededBugError;
    fn from_str(name: &str) -> Result<Self, SeededBugError> {
        match name {
            "ack_before_store" => Ok(Self::AckBeforeStore),
            "drop_failed_dead_letter" => Ok(Self::DropFailedDeadLetter),
            "skip_tenant_check" => Ok(Self::SkipTenantCheck),
            _ => Err(SeededBugError),
        }
    }
}

/// The record, as if its binding said what its payload says.
pub(crate) fn believe_the_envelope(mut record: Record) -> Record {
    let envelope = record
        .value
        .as_ref()
        .and_then(|value| Envelope::from_json(value).ok());
    if let Some(envelope) = envelope {
        let tenant = envelope.tenant_id.as_str().to_owned();
        record.headers.set(headers::TENANT, tenant.clone());
        record.key = Some(tenant.into());
    }
    record
}
