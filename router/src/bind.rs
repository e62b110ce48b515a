//! Binding: whose record this is.
//!
//! In: a record of the notifications topic. Out: its tenant, or poison. Always: the tenant is the header's
//! and the key says the same; what the payload says is compared later and never believed alone.

use bytes::Bytes;
use carillon_bus::Record;
use carillon_schemas::{TenantId, headers};

use crate::poison::{Code, Poison};

/// The tenant of a record on the notifications topic.
pub(crate) fn bind(record: &Record) -> Result<TenantId, Poison> {
    let tenant = tenant_header(record)?;
    if record.key.as_ref() != Some(tenant) {
        return Err(Poison::new(
            Code::KeyMismatch,
            "the key is not the tenant of the header",
        ));
    }
    std::str::from_utf8(tenant)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Poison::new(Code::NoTenant, "the header carillon-tenant holds no tenant id"))
}

fn tenant_header(record: &Record) -> Result<&Bytes, Poison> {
    record.headers.get(headers::TENANT).ok_or_else(|| {
        let text = "the header carillon-tenant is missing or stands more than once";
        Poison::new(Code::NoTenant, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::sample;

    fn code(record: &Record) -> Code {
        bind(record).unwrap_err().code
    }

    #[test]
    fn a_record_is_of_the_tenant_that_header_and_key_agree_on() {
        assert_eq!(bind(&sample::record("acme", 0)).unwrap().as_str(), "acme");
    }

    #[test]
    fn a_missing_doubled_or_broken_tenant_header_binds_nothing() {
        let mut doubled = sample::record("acme", 0);
        doubled.headers.push_raw(headers::TENANT, "acme");
        assert_eq!(code(&doubled), Code::NoTenant);
        let mut missing = sample::record("acme", 0);
        missing.headers = headers::Headers::default();
        assert_eq!(code(&missing), Code::NoTenant);
        for broken in [&b"ACME"[..], b"", b"a/b", b"\xff"] {
            let mut record = sample::record("acme", 0);
            record.headers.set(headers::TENANT, Bytes::from_static(broken));
            record.key = Some(Bytes::from_static(broken));
            assert_eq!(code(&record), Code::NoTenant, "{broken:?}");
        }
    }

    #[test]
    fn a_key_that_is_missing_or_another_tenant_is_a_mismatch() {
        for key in [None, Some(Bytes::from_static(b"globex")), Some(Bytes::new())] {
            let mut record = sample::record("acme", 0);
            record.key = key;
            assert_eq!(code(&record), Code::KeyMismatch);
        }
    }
}
