//! Submitting: `POST /v1/notifications`, from bytes to 202.
//!
//! In: a request with a body. Out: 202 once Kafka has the notification on all in-sync replicas.
//! Always: a body is parsed once; nothing is answered 202 that is not acknowledged, now or under an earlier
//! submit with the same key.

use axum::{body::Body, response::Response};
use carillon_schemas::{IdempotencyKey, http::Accepted, notification::Submission, status::Status};
use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::{Call, body, principal::Caller, problem, span};
use crate::{
    ingest::Room,
    policy::{Admission, Asked, Decision, Permit},
    refusal::Refusal,
    seal::seal,
};

pub(super) async fn submit(
    room: &Room,
    call: &mut Call,
    caller: Caller,
    body: Body,
) -> Result<Response, Refusal> {
    let headers = &call.parts.headers;
    body::must_be_json(headers)?;
    let key = idempotency_key(headers)?;
    let bytes = body::collect(headers, body, room.config.body_bytes, room.config.body_deadline).await?;
    let mut submission = Submission::parse(&bytes)?;
    if call.correlation.is_none() {
        call.correlation = submission.correlation_id.take();
    }
    let principal = caller.for_body(submission.tenant_id.as_ref(), submission.user_id.as_ref())?;
    call.tenant = Some(principal.tenant().clone());
    let keyed = key.is_some();
    let asked = Asked {
        principal: &principal,
        submission,
        bytes: bytes.len(),
        key: key.map(|key| (key, Sha256::digest(&bytes).into())),
        until: call.until,
    };
    let accepted = match room.policy.admit(asked).await? {
        Decision::Publish(admission, permit) => publish(room, call, admission, permit, keyed).await?,
        Decision::Published {
            tenant,
            channel,
            id,
            correlation,
        } => Accepted {
            status: Status::Accepted,
            notification_id: id,
            tenant_id: tenant,
            channel,
            correlation_id: correlation,
            deduplicated: true,
        },
    };
    room.meters.accepted(call.started.elapsed());
    problem::accepted(
        &accepted,
        format!("/v1/notifications/{}", accepted.notification_id),
    )
}

async fn publish(
    room: &Room,
    call: &mut Call,
    admission: Admission,
    permit: Permit,
    keyed: bool,
) -> Result<Accepted, Refusal> {
    let correlation = call.correlation(room).clone();
    let traceparent = span::traceparent(&call.parts.headers);
    let sealed = seal(admission, correlation, traceparent, &room.topic)?;
    room.publisher.publish(sealed.record, permit, call.until).await?;
    let accepted = sealed.accepted;
    if keyed {
        room.policy
            .published(accepted.notification_id, accepted.correlation_id.clone());
    }
    Ok(accepted)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Refusal> {
    const NAME: &str = "idempotency-key";
    let Some(value) = headers.get(NAME) else {
        return Ok(None);
    };
    match value.to_str().unwrap_or("\u{0}").parse() {
        Ok(key) => Ok(Some(key)),
        Err(error) => Err(Refusal::parameter("Idempotency-Key", format!("{error}"))),
    }
}
