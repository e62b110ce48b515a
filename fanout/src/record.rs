//! A delivery record: whose it is and which stream it belongs to.
//!
//! In: a record of the deliveries topic. Out: its tenant, its stream, its bytes.
//! Always: the tenant is the header's and must equal the value's; nothing else of the value is looked at.

use std::borrow::Cow;

use carillon_bus::Record;
use carillon_schemas::{ChannelName, Stream, TenantId, UserId, headers, notification::Audience};
use serde::Deserialize;

/// Why a record reaches nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// No tenant in the header, or no valid one.
    NoTenant,
    /// The value names another tenant than the header.
    TenantMismatch,
    /// The value is no delivery.
    Undecodable,
}

impl Doubt {
    /// The metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoTenant => "no_tenant",
            Self::TenantMismatch => "tenant_mismatch",
            Self::Undecodable => "undecodable",
        }
    }
}

#[derive(Deserialize)]
struct Address<'a> {
    #[serde(borrow)]
    tenant_id: Cow<'a, str>,
    channel: ChannelName,
    #[serde(default)]
    audience: Audience,
    #[serde(default)]
    user_id: Option<UserId>,
}

/// The tenant that the header names.
pub(crate) fn tenant_of(record: &Record) -> Result<TenantId, Doubt> {
    let text = record.headers.text(headers::TENANT).ok_or(Doubt::NoTenant)?;
    text.parse().map_err(|_| Doubt::NoTenant)
}

/// The stream of a record of this tenant, and its value.
pub(crate) fn open<'r>(record: &'r Record, tenant: &TenantId) -> Result<(Stream, &'r [u8]), Doubt> {
    let value = record.value.as_deref().ok_or(Doubt::Undecodable)?;
    let address: Address<'_> = serde_json::from_slice(value).map_err(|_| Doubt::Undecodable)?;
    if address.tenant_id != tenant.as_str() {
        return Err(Doubt::TenantMismatch);
    }
    let stream = match (address.audience, address.user_id) {
        (Audience::Channel, _) => Stream::Channel(address.channel),
        (Audience::User, Some(user)) => Stream::User(user),
        (Audience::User, None) => return Err(Doubt::Undecodable),
    };
    Ok((stream, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tenant: Option<&str>, value: &str) -> Record {
        let mut fields = headers::Headers::default();
        if let Some(tenant) = tenant {
            fields.set(headers::TENANT, tenant.to_owned());
        }
        Record {
            topic: "d".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: None,
            value: Some(value.to_owned().into()),
            headers: fields,
        }
    }

    fn stream(record: &Record) -> Result<String, Doubt> {
        let tenant = tenant_of(record)?;
        open(record, &tenant).map(|(stream, _)| stream.to_string())
    }

    #[test]
    fn a_delivery_belongs_to_its_channel_or_its_user() {
        let channel = r#"{"delivery":1,"tenant_id":"a","channel":"c","user_id":"u","content":"x"}"#;
        assert_eq!(stream(&record(Some("a"), channel)).unwrap(), "channel:c");
        let user = r#"{"tenant_id":"a","channel":"c","user_id":"u","audience":"user","content":"x"}"#;
        assert_eq!(stream(&record(Some("a"), user)).unwrap(), "user:u");
    }

    #[test]
    fn a_record_whose_tenant_is_in_doubt_reaches_nobody() {
        let value = r#"{"tenant_id":"a","channel":"c","content":"x"}"#;
        assert_eq!(stream(&record(None, value)), Err(Doubt::NoTenant));
        assert_eq!(stream(&record(Some("A!"), value)), Err(Doubt::NoTenant));
        assert_eq!(stream(&record(Some("b"), value)), Err(Doubt::TenantMismatch));
        for bad in [
            "",
            "[]",
            r#"{"tenant_id":"a"}"#,
            r#"{"tenant_id":"a","channel":"c","audience":"user"}"#,
        ] {
            assert_eq!(stream(&record(Some("a"), bad)), Err(Doubt::Undecodable), "{bad}");
        }
    }
}
