//! Producers: what is sent, good and bad.
//!
//! In: chance. Out: records on the notifications topic, and what may become of each. Always: every value is unique,
//! but for what is published again.

use std::sync::Arc;

use bytes::Bytes;
use carillon_schemas::{
    NotificationId, Stream, TenantId,
    headers::{self, Headers},
};

use super::world::{Place, World};

/// Most bytes of an envelope on the limited channel.
pub(super) const LIMIT: usize = 600;
/// The limited channel.
pub(super) const LIMITED: &str = "limited";

/// What is peculiar about a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// Its client acknowledges, or nobody does.
    RequireAck {
        acked: bool,
    },
    Expires,
    Later,
    Collapse,
    /// The store refuses it until an operator mends that.
    Refused,
    /// The store is too slow for it, alone, in so many attempts.
    TimesOut(u8),
    Junk,
    /// Its envelope names another tenant.
    Foreign,
    BadHeaders,
    TooBig,
}

impl Kind {
    /// Whether it may become a dead letter while nothing is down.
    pub(super) fn may_die(&self) -> bool {
        !matches!(self, Self::Plain | Self::Expires | Self::Later | Self::Collapse)
    }

    /// Whether its deliveries must come in the order in which they were sent.
    pub(super) fn is_ordered(&self) -> bool {
        matches!(
            self,
            Self::Plain | Self::Expires | Self::Collapse | Self::RequireAck { .. }
        )
    }
}

/// What a producer sent.
pub(super) struct Sent {
    pub(super) id: NotificationId,
    /// As the header says.
    pub(super) tenant: TenantId,
    pub(super) stream: Stream,
    pub(super) kind: Kind,
    pub(super) place: Place,
    pub(super) value: Bytes,
    pub(super) mended: bool,
    /// Whether it was published again.
    pub(super) again: bool,
}

const TENANTS: [&str; 4] = ["acme", "acme", "globex", "initech"];

impl World {
    /// Sends one.
    pub(super) fn send(&mut self) {
        if self.sent.len() > 2 && self.rng.chance(6) {
            self.send_again();
            return;
        }
        let kind = self.kind();
        self.send_one(kind);
    }

    /// Sends one with nothing peculiar.
    pub(super) fn send_plain(&mut self) {
        self.send_one(Kind::Plain);
    }

    fn send_one(&mut self, kind: Kind) {
        let tenant = *self.rng.pick(&TENANTS).expect("there are tenants");
        let number = self.sent.len();
        let id: NotificationId = format!("019a0000-0000-7000-8000-{number:012x}")
            .parse()
            .expect("an id");
        let channel = match kind {
            Kind::TooBig => LIMITED.to_owned(),
            _ => format!("c{}", self.rng.below(2)),
        };
        let of = if kind == Kind::Foreign { "victim" } else { tenant };
        let value: Bytes = match kind {
            Kind::Junk => format!("junk {number}").into(),
            _ => self.envelope(&kind, id, of, &channel).into(),
        };
        let mut headers = Headers::default();
        headers.set(headers::TENANT, tenant);
        headers.set(headers::ID, id.to_string());
        if kind == Kind::BadHeaders {
            let bad = [
                (headers::ATTEMPT, "0"),
                (headers::ATTEMPT, "1000000000"),
                (headers::HOPS, "-1"),
                (headers::NOT_BEFORE, "253402300799000"),
                (headers::FIRST_SEEN, "soon"),
                (headers::CHECK, "2"),
            ];
            let (name, value) = *self.rng.pick(&bad).expect("there are some");
            headers.set(name, value);
        }
        let place = self.publish(tenant, &value, headers);
        self.by_id.insert(id, number);
        self.by_value.insert(value.clone(), number);
        self.sent.push(Sent {
            id,
            tenant: tenant.parse().expect("a tenant"),
            stream: Stream::Channel(channel.parse().expect("a channel")),
            kind,
            place,
            value,
            mended: false,
            again: false,
        });
    }

    fn kind(&mut self) -> Kind {
        match self.rng.below(100) {
            0..52 => Kind::Plain,
            52..62 => Kind::RequireAck {
                acked: self.rng.chance(60),
            },
            62..66 => Kind::Expires,
            66..71 => Kind::Later,
            71..80 => Kind::Collapse,
            80..83 => Kind::Refused,
            83..89 => Kind::TimesOut(self.rng.between(1, 8) as u8),
            89..91 => Kind::Junk,
            91..94 => Kind::Foreign,
            94..97 => Kind::BadHeaders,
            _ => Kind::TooBig,
        }
    }

    fn envelope(&mut self, kind: &Kind, id: NotificationId, tenant: &str, channel: &str) -> String {
        let now = self.now_ms;
        let priority = self
            .rng
            .pick(&["", "\"priority\":\"high\",", "\"priority\":\"low\","]);
        let priority = priority.copied().unwrap_or_default();
        let more = match kind {
            Kind::RequireAck { .. } => "\"require_ack\":true,".to_owned(),
            Kind::Expires => format!("\"expires_at\":{},", now + self.rng.between(1, 20_000)),
            Kind::Later => format!("\"deliver_at\":{},", now + self.rng.between(1, 90_000)),
            Kind::Collapse => "\"collapse_key\":\"k\",".to_owned(),
            _ => String::new(),
        };
        let content = match kind {
            Kind::TooBig => "x".repeat(LIMIT),
            _ => "disk almost full".to_owned(),
        };
        format!(
            "{{\"notification_id\":\"{id}\",\"tenant_id\":\"{tenant}\",\"channel\":\"{channel}\",\
             \"correlation_id\":\"r\",\"accepted_at\":{now},{priority}{more}\"content\":\"{content}\"}}"
        )
    }

    /// An idempotent submit that is published again.
    fn send_again(&mut self) {
        let at = self.rng.below(self.sent.len());
        let sent = &self.sent[at];
        if sent.kind != Kind::Plain {
            return;
        }
        let (tenant, value, id) = (sent.tenant.clone(), sent.value.clone(), sent.id);
        let mut headers = Headers::default();
        headers.set(
            headers::TENANT,
            Bytes::copy_from_slice(tenant.as_str().as_bytes()),
        );
        headers.set(headers::ID, id.to_string());
        headers.set(headers::REPUBLISHED, "1");
        self.sent[at].again = true;
        self.publish(tenant.as_str(), &value, headers);
    }

    fn publish(&mut self, tenant: &str, value: &Bytes, headers: Headers) -> Place {
        let topic = self.log.names.notifications.clone();
        let partition = self.log.partition_of(&topic, tenant.as_bytes());
        self.now_ms += 1;
        let key = Bytes::copy_from_slice(tenant.as_bytes());
        let content = (Some(key), Some(value.clone()));
        let record = self.log.append(&topic, partition, content, headers, self.now_ms);
        (Arc::clone(&record.topic), partition, record.offset)
    }
}
