//! A delivery record: whose it is, which stream it belongs to, until when and for how long it counts.
//!
//! In: a record of the deliveries topic. Out: its tenant, its stream, its bytes, and which delivery it is.
//! Always: the tenant is the header's and must equal the value's; the content is not looked at.

use std::borrow::Cow;

use bytes::Bytes;
use carillon_bus::Record;
use carillon_schemas::{
    ChannelName, CollapseKey, NotificationId, Stream, TenantId, UserId, headers, notification::Audience,
};
use serde::Deserialize;

use crate::receipts::Which;

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

/// A delivery, opened as far as fanout needs it.
pub(crate) struct Opened<'r> {
    /// Its stream.
    pub(crate) stream: Stream,
    /// The notification.
    pub(crate) id: NotificationId,
    /// Which delivery of it.
    pub(crate) which: Which,
    /// Not to be delivered at or after this moment, Unix milliseconds.
    pub(crate) expires_at: Option<u64>,
    /// A newer one of its stream with this key takes its place.
    pub(crate) collapse_key: Option<CollapseKey>,
    /// When it was accepted, Unix milliseconds.
    pub(crate) accepted_at: u64,
    /// Whether an operator asked for it again.
    pub(crate) replayed: bool,
    /// Its bytes.
    pub(crate) value: &'r Bytes,
}

/// Whether what expires at a moment has expired.
pub(crate) fn is_expired(expires_at: Option<u64>, now_ms: u64) -> bool {
    expires_at.is_some_and(|at| now_ms >= at)
}

#[derive(Deserialize)]
struct Address<'a> {
    notification_id: NotificationId,
    #[serde(borrow)]
    tenant_id: Cow<'a, str>,
    channel: ChannelName,
    #[serde(default)]
    audience: Audience,
    #[serde(default)]
    user_id: Option<UserId>,
    #[serde(default)]
    expires_at: Option<u64>,
    #[serde(default)]
    collapse_key: Option<CollapseKey>,
    #[serde(default)]
    accepted_at: u64,
    #[serde(default)]
    replayed: bool,
}

/// The tenant that the header names.
pub(crate) fn tenant_of(record: &Record) -> Result<TenantId, Doubt> {
    let text = record.headers.text(headers::TENANT).ok_or(Doubt::NoTenant)?;
    text.parse().map_err(|_| Doubt::NoTenant)
}

/// A record of this tenant.
pub(crate) fn open<'r>(record: &'r Record, tenant: &TenantId) -> Result<Opened<'r>, Doubt> {
    let value = record.value.as_ref().ok_or(Doubt::Undecodable)?;
    let address: Address<'_> = serde_json::from_slice(value).map_err(|_| Doubt::Undecodable)?;
    if address.tenant_id != tenant.as_str() {
        return Err(Doubt::TenantMismatch);
    }
    let stream = match (address.audience, address.user_id) {
        (Audience::Channel, _) => Stream::Channel(address.channel),
        (Audience::User, Some(user)) => Stream::User(user),
        (Audience::User, None) => return Err(Doubt::Undecodable),
    };
    Ok(Opened {
        stream,
        id: address.notification_id,
        which: Which::of(&record.headers),
        expires_at: address.expires_at,
        collapse_key: address.collapse_key,
        accepted_at: address.accepted_at,
        replayed: address.replayed,
        value,
    })
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

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn value(fields: &str) -> String {
        format!(r#"{{"delivery":1,"notification_id":"{ID}",{fields},"content":"x"}}"#)
    }

    fn stream(record: &Record) -> Result<String, Doubt> {
        let tenant = tenant_of(record)?;
        open(record, &tenant).map(|opened| opened.stream.to_string())
    }

    #[test]
    fn a_delivery_belongs_to_its_channel_or_its_user() {
        let channel = &value(r#""tenant_id":"a","channel":"c","user_id":"u""#);
        assert_eq!(stream(&record(Some("a"), channel)).unwrap(), "channel:c");
        let user = &value(r#""tenant_id":"a","channel":"c","user_id":"u","audience":"user""#);
        assert_eq!(stream(&record(Some("a"), user)).unwrap(), "user:u");
    }

    #[test]
    fn a_record_whose_tenant_is_in_doubt_reaches_nobody() {
        let good = &value(r#""tenant_id":"a","channel":"c""#);
        assert_eq!(stream(&record(None, good)), Err(Doubt::NoTenant));
        assert_eq!(stream(&record(Some("A!"), good)), Err(Doubt::NoTenant));
        assert_eq!(stream(&record(Some("b"), good)), Err(Doubt::TenantMismatch));
        for bad in [
            "",
            "[]",
            r#"{"tenant_id":"a","channel":"c","content":"x"}"#,
            &value(r#""tenant_id":"a""#),
            &value(r#""tenant_id":"a","channel":"c","audience":"user""#),
        ] {
            assert_eq!(stream(&record(Some("a"), bad)), Err(Doubt::Undecodable), "{bad}");
        }
    }

    #[test]
    fn what_decides_whether_a_delivery_still_counts_is_read_beside_its_stream() {
        let fields = r#""tenant_id":"a","channel":"c","expires_at":7,"collapse_key":"k","accepted_at":5,"replayed":true"#;
        let mut record = record(Some("a"), &value(fields));
        record.headers.set(headers::DELIVERY, "2");
        let opened = open(&record, &"a".parse().unwrap()).ok().unwrap();
        assert_eq!((opened.id.to_string().as_str(), opened.which.delivery), (ID, 2));
        assert_eq!((opened.accepted_at, opened.replayed), (5, true));
        assert_eq!(opened.collapse_key.unwrap().as_str(), "k");
        let expired = [6, 7].map(|now| is_expired(opened.expires_at, now));
        assert_eq!((expired, is_expired(None, u64::MAX)), ([false, true], false));
    }
}
