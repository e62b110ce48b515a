//! The closed list of reasons for which a record becomes a dead letter.
//!
//! In: nothing. Out: classes and codes as they stand in a dead letter's headers.
//! Always: every code stands in `docs/errors.md` with what an operator does about it; a test holds the page
//! against [`Code::ALL`].

/// How a failure is dealt with. Systemic failures have no class: they are waited out and move no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// It will fail however often it is tried.
    Permanent,
    /// It failed as often as it was tried, while others did not: later it may not.
    Transient,
}

impl Class {
    /// The value of the header `carillon-error-class`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
        }
    }
}

/// Why a record is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The header `carillon-tenant` is missing, stands twice, or holds no tenant id.
    NoTenant,
    /// The record's key is not the tenant.
    KeyMismatch,
    /// The envelope names another tenant than the header.
    TenantMismatch,
    /// The envelope names another notification than the header `carillon-id`.
    IdMismatch,
    /// The header `carillon-schema` names a schema that this version does not read.
    UnknownSchema,
    /// The record has no value.
    NoValue,
    /// The value is not an envelope: no JSON, a field missing or broken.
    NotAnEnvelope,
    /// The envelope is for a user and names none.
    NoAddressee,
    /// The delivery is larger than the deliveries topic takes.
    TooLarge,
    /// The store refuses this notification and would refuse it again.
    StoreRefused,
    /// A header that says how far the record has come is missing, doubled, garbled, absurd or contradicts another.
    BadHeaders,
    /// It is larger than its channel allows.
    ChannelLimit,
    /// It was moved between topics as often as is allowed.
    TooManyHops,
    /// The store does not take it in time, alone, while it takes others.
    StoreTimeout,
    /// It failed, and is too old to be tried again.
    TooOld,
    /// Nobody acknowledged it, however often it was dispatched.
    NotAcknowledged,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 16] = [
        Self::NoTenant,
        Self::KeyMismatch,
        Self::TenantMismatch,
        Self::IdMismatch,
        Self::UnknownSchema,
        Self::NoValue,
        Self::NotAnEnvelope,
        Self::NoAddressee,
        Self::TooLarge,
        Self::StoreRefused,
        Self::BadHeaders,
        Self::ChannelLimit,
        Self::TooManyHops,
        Self::StoreTimeout,
        Self::TooOld,
        Self::NotAcknowledged,
    ];

    /// The value of the header `carillon-error-code`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoTenant => "no_tenant",
            Self::KeyMismatch => "key_mismatch",
            Self::TenantMismatch => "tenant_mismatch",
            Self::IdMismatch => "id_mismatch",
            Self::UnknownSchema => "unknown_schema",
            Self::NoValue => "no_value",
            Self::NotAnEnvelope => "not_an_envelope",
            Self::NoAddressee => "no_addressee",
            Self::TooLarge => "too_large",
            Self::StoreRefused => "store_refused",
            Self::BadHeaders => "bad_headers",
            Self::ChannelLimit => "channel_limit",
            Self::TooManyHops => "too_many_hops",
            Self::StoreTimeout => "store_timeout",
            Self::TooOld => "too_old",
            Self::NotAcknowledged => "not_acknowledged",
        }
    }

    /// The class it belongs to.
    pub fn class(self) -> Class {
        match self {
            Self::StoreTimeout | Self::TooOld | Self::NotAcknowledged => Class::Transient,
            _ => Class::Permanent,
        }
    }
}

/// A record that cannot be handled, and why. The reason never quotes the value: that is another's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Poison {
    pub(crate) code: Code,
    pub(crate) reason: String,
}

impl Poison {
    pub(crate) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_for_operators_names_every_code_and_no_other() {
        let page = include_str!("../../docs/errors.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let named: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
        let known: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(named, known);
    }

    #[test]
    fn the_page_for_operators_names_every_class() {
        let page = include_str!("../../docs/errors.md");
        for code in Code::ALL {
            let heading = format!("## Class `{}`", code.class().as_str());
            assert!(page.contains(&heading), "{heading}");
        }
    }
}
