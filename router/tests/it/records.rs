//! Records as producers write them.
//!
//! In: a tenant and a number. Out: a record for the notifications topic. Always: the same number gives the
//! same notification.

use bytes::Bytes;
use carillon_bus::Outgoing;
use carillon_schemas::{
    NotificationId, TenantId,
    envelope::{self, Envelope},
    headers::{self, Headers},
};

pub(crate) const NOTIFICATIONS: &str = "carillon.notifications.v1";

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub(crate) fn id(n: u64) -> NotificationId {
    format!("019a0000-0000-7000-8000-{n:012x}").parse().unwrap()
}

/// The n-th notification of a tenant, on channel `alerts`.
pub(crate) fn envelope(tenant_name: &str, n: u64) -> Envelope {
    Envelope {
        priority: Default::default(),
        expires_at: None,
        collapse_key: None,
        require_ack: false,
        deliver_at: None,
        notification_id: id(n),
        tenant_id: tenant(tenant_name),
        user_id: None,
        channel: "alerts".parse().unwrap(),
        audience: Default::default(),
        correlation_id: format!("req-{n}").parse().unwrap(),
        accepted_at: 1_760_000_000_000 + n,
        kind: None,
        title: None,
        content: format!("number {n}"),
        data: None,
    }
}

/// Its record.
pub(crate) fn record(tenant_name: &str, n: u64) -> Outgoing {
    let mut headers = Headers::default();
    headers.set(headers::TENANT, Bytes::copy_from_slice(tenant_name.as_bytes()));
    headers.set(headers::ID, id(n).to_string());
    headers.set(headers::SCHEMA, envelope::SCHEMA);
    Outgoing {
        topic: NOTIFICATIONS.into(),
        partition: None,
        key: Bytes::copy_from_slice(tenant_name.as_bytes()),
        value: envelope(tenant_name, n).to_json().unwrap().into(),
        headers,
    }
}

/// The n-th notification of a tenant, changed.
pub(crate) fn changed(tenant_name: &str, n: u64, change: impl Fn(&mut Envelope)) -> Outgoing {
    let mut envelope = envelope(tenant_name, n);
    change(&mut envelope);
    Outgoing {
        value: envelope.to_json().unwrap().into(),
        ..record(tenant_name, n)
    }
}
