//! Sealing: an admission becomes the record that travels.
//!
//! In: an admission and the request's correlation. Out: the bytes of an envelope with their headers, and what
//! the caller is told once Kafka has them.
//! Always: what is sealed is never encoded again; the tenant's header equals the envelope's tenant.

use std::sync::Arc;

use bytes::Bytes;
use carillon_bus::Outgoing;
use carillon_schemas::{
    CorrelationId,
    envelope::{self, Envelope},
    headers::{self, Headers},
    http::Accepted,
    status::Status,
};

use crate::{policy::Admission, refusal::Refusal};

/// A record that is ready to go.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// The record.
    pub(crate) record: Outgoing,
    /// The answer that it earns.
    pub(crate) accepted: Accepted,
}

/// Seals an admission.
///
/// # Errors
/// [`Refusal::Internal`], never for what the contract's parsers let through.
pub(crate) fn seal(
    admission: Admission,
    correlation: CorrelationId,
    traceparent: Option<Bytes>,
    topic: &Arc<str>,
) -> Result<Sealed, Refusal> {
    let Admission {
        submission,
        tenant,
        channel,
        id,
        accepted_at,
        republished,
    } = admission;
    // A moment that has passed is no moment to wait for.
    let deliver_at = submission.deliver_at.filter(|at| *at > accepted_at);
    let begins_at = deliver_at.unwrap_or(accepted_at);
    let expires_at = submission
        .ttl_seconds
        .map(|ttl| begins_at + u64::from(ttl) * 1000);
    let envelope = Envelope {
        priority: submission.priority.unwrap_or_default(),
        expires_at,
        collapse_key: submission.collapse_key,
        require_ack: submission.require_ack.unwrap_or_default(),
        deliver_at,
        notification_id: id,
        tenant_id: tenant,
        user_id: submission.user_id,
        channel,
        audience: submission.audience.unwrap_or_default(),
        correlation_id: correlation,
        accepted_at,
        kind: submission.kind,
        title: submission.title,
        content: submission.content,
        data: submission.data,
    };
    let value = envelope.to_json().map_err(|e| Refusal::Internal(e.to_string()))?;
    let key = Bytes::copy_from_slice(envelope.tenant_id.as_str().as_bytes());
    let mut headers = Headers::with_capacity(6);
    headers.set(headers::TENANT, key.clone());
    headers.set(headers::ID, id.to_string());
    headers.set(headers::SCHEMA, Bytes::from_static(envelope::SCHEMA.as_bytes()));
    let correlation = Bytes::copy_from_slice(envelope.correlation_id.as_str().as_bytes());
    headers.set(headers::CORRELATION_ID, correlation);
    if let Some(traceparent) = traceparent {
        headers.set(headers::TRACEPARENT, traceparent);
    }
    if republished {
        headers.set(headers::REPUBLISHED, Bytes::from_static(b"1"));
    }
    Ok(Sealed {
        record: Outgoing {
            topic: Arc::clone(topic),
            partition: None,
            key,
            value: value.into(),
            headers,
        },
        accepted: Accepted {
            status: Status::Accepted,
            notification_id: id,
            tenant_id: envelope.tenant_id,
            channel: envelope.channel,
            correlation_id: envelope.correlation_id,
            deduplicated: republished,
        },
    })
}

#[cfg(test)]
mod tests {
    use carillon_schemas::{
        NotificationId,
        notification::{Priority, Submission},
    };

    use super::*;

    const BODY: &str = r#"{"content":"x","user_id":"u1","type":"t","data":{"b": 1.0}}"#;

    fn admission(body: &str, republished: bool) -> Admission {
        Admission {
            submission: Submission::parse(body.as_bytes()).unwrap(),
            tenant: "acme".parse().unwrap(),
            channel: "alerts".parse().unwrap(),
            id: NotificationId::at(7, &[1; 10]),
            accepted_at: 7,
            republished,
        }
    }

    fn sealed(republished: bool) -> Sealed {
        let trace = Some(Bytes::from_static(b"00-trace"));
        seal(
            admission(BODY, republished),
            "req-7".parse().unwrap(),
            trace,
            &Arc::from("topic"),
        )
        .unwrap()
    }

    #[test]
    fn the_record_carries_the_envelope_and_its_routing_facts() {
        let record = sealed(false).record;
        let envelope = Envelope::from_json(&record.value).unwrap();
        assert_eq!((envelope.accepted_at, envelope.content.as_str()), (7, "x"));
        assert_eq!(
            envelope.data.unwrap().get(),
            r#"{"b": 1.0}"#,
            "handed through byte for byte"
        );
        assert_eq!((&*record.topic, &record.key[..]), ("topic", &b"acme"[..]));
        let header = |name| record.headers.text(name);
        assert_eq!(header(headers::TENANT), Some("acme"));
        assert_eq!(
            header(headers::ID),
            Some(envelope.notification_id.to_string().as_str())
        );
        assert_eq!(header(headers::SCHEMA), Some("envelope/1"));
        assert_eq!(header(headers::CORRELATION_ID), Some("req-7"));
        assert_eq!(header(headers::TRACEPARENT), Some("00-trace"));
        assert_eq!(header(headers::REPUBLISHED), None);
    }

    fn envelope(fields: &str) -> Envelope {
        let body = format!(r#"{{"content":"x",{fields}}}"#);
        let topic = Arc::from("topic");
        let sealed = seal(admission(&body, false), "c".parse().unwrap(), None, &topic).unwrap();
        Envelope::from_json(&sealed.record.value).unwrap()
    }

    #[test]
    fn time_to_live_counts_from_the_acceptance_or_from_the_moment_that_is_waited_for() {
        let times = |fields: &str| {
            let envelope = envelope(fields);
            (envelope.deliver_at, envelope.expires_at)
        };
        assert_eq!(times(r#""ttl_seconds":2"#), (None, Some(2_007)));
        assert_eq!(
            times(r#""ttl_seconds":2,"deliver_at":50"#),
            (Some(50), Some(2_050))
        );
        assert_eq!(times(r#""deliver_at":50"#), (Some(50), None));
        for past in [0, 6, 7] {
            let fields = format!(r#""ttl_seconds":2,"deliver_at":{past}"#);
            assert_eq!(times(&fields), (None, Some(2_007)), "at once");
        }
    }

    #[test]
    fn urgency_collapsing_and_acknowledgement_travel_with_the_envelope() {
        let all = envelope(r#""priority":"high","collapse_key":"k","require_ack":true"#);
        assert_eq!((all.priority, all.require_ack), (Priority::High, true));
        assert_eq!(all.collapse_key.unwrap().as_str(), "k");
        let none = envelope(r#""priority":null,"require_ack":false"#);
        assert_eq!((none.priority, none.require_ack), (Priority::Normal, false));
    }

    #[test]
    fn what_is_published_again_says_so_to_the_router_and_to_the_caller() {
        let sealed = sealed(true);
        assert!(sealed.accepted.deduplicated);
        assert_eq!(sealed.record.headers.text(headers::REPUBLISHED), Some("1"));
    }
}
