//! Problems: the one place that turns what happened into a status.
//!
//! In: a refusal, or a value to show. Out: `application/problem+json` (RFC 9457), or JSON.
//! Always: no other file names a status; the answer says nothing that a refusal keeps for the log.

use axum::response::Response;
use bytes::Bytes;
use carillon_auth::AuthError;
use carillon_schemas::{
    CorrelationId,
    claims::Scopes,
    problem::{FieldError, Problem, ProblemCode},
    status::Status,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use crate::refusal::{Busy, Refusal};

/// The request's id, in both directions.
pub(super) const CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// 200: what was asked for. Not to be kept by anybody on the way: it is of one tenant, and changes.
pub(super) fn shown(value: &impl Serialize) -> Result<Response, Refusal> {
    let mut response = json(StatusCode::OK, JSON, value)?;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// 202: taken.
pub(super) fn taken(value: &impl Serialize) -> Result<Response, Refusal> {
    json(StatusCode::ACCEPTED, JSON, value)
}

/// 202: taken, and where it can be looked at.
pub(super) fn accepted(value: &impl Serialize, location: String) -> Result<Response, Refusal> {
    let mut response = json(StatusCode::ACCEPTED, JSON, value)?;
    set(response.headers_mut(), LOCATION, location);
    Ok(response)
}

/// 204: nothing to say but headers.
pub(super) fn empty() -> Response {
    with_status(StatusCode::NO_CONTENT, axum::body::Body::empty())
}

/// Puts the request's id on its answer.
pub(super) fn correlate(response: &mut Response, correlation: &CorrelationId) {
    if let Ok(value) = HeaderValue::from_str(correlation.as_str()) {
        response.headers_mut().insert(CORRELATION, value);
    }
}

/// What a refusal looks like.
pub(super) fn refused(refusal: &Refusal, correlation: &CorrelationId) -> Response {
    let code = code(refusal);
    let mut problem = Problem::new(code, detail(refusal)).with_errors(errors(refusal).to_vec());
    problem.correlation_id = Some(correlation.clone());
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response =
        json(status, PROBLEM, &problem).unwrap_or_else(|_| with_status(status, axum::body::Body::empty()));
    tell(refusal, status, response.headers_mut());
    response
}

/// The code of the closed list.
pub(super) fn code(refusal: &Refusal) -> ProblemCode {
    match refusal {
        Refusal::NotJson(_) => ProblemCode::InvalidJson,
        Refusal::Fields(_) => ProblemCode::InvalidField,
        Refusal::Parameters(_) => ProblemCode::InvalidParameter,
        Refusal::Credential(AuthError::Missing) => ProblemCode::TokenMissing,
        Refusal::Credential(error) if error.is_expired() => ProblemCode::TokenExpired,
        Refusal::Credential(_) => ProblemCode::TokenInvalid,
        Refusal::Scope(_) => ProblemCode::ScopeMissing,
        Refusal::TenantMismatch => ProblemCode::TenantMismatch,
        Refusal::Channel => ProblemCode::ChannelForbidden,
        Refusal::NotFound => ProblemCode::NotFound,
        Refusal::NotYetVisible => ProblemCode::NotYetVisible,
        Refusal::Method => ProblemCode::MethodNotAllowed,
        Refusal::NotCancellable(_) => ProblemCode::NotCancellable,
        Refusal::BodyLate => ProblemCode::RequestTimeout,
        Refusal::BodyTooLarge(_) => ProblemCode::BodyTooLarge,
        Refusal::MediaType(_) => ProblemCode::UnsupportedMediaType,
        Refusal::KeyReused => ProblemCode::IdempotencyKeyReused,
        Refusal::Overloaded(_) => ProblemCode::Overloaded,
        Refusal::Unavailable(..) => ProblemCode::Unavailable,
        Refusal::OutcomeUnknown(_) => ProblemCode::OutcomeUnknown,
        Refusal::Internal(_) => ProblemCode::Internal,
    }
}

/// What happened to this request, in words that are meant for its sender.
fn detail(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotJson(why) => why.clone(),
        Refusal::Fields(errors) | Refusal::Parameters(errors) => sentence(errors),
        Refusal::Credential(error) => error.to_string(),
        Refusal::Scope(scopes) => format!("needs the scope {}", one_of(scopes)),
        Refusal::TenantMismatch => "the body's tenant_id is not the token's tenant".to_owned(),
        Refusal::Channel => "the token does not reach this channel".to_owned(),
        Refusal::NotFound => "there is nothing here for you".to_owned(),
        Refusal::NotYetVisible => "it may have been accepted a moment ago; ask again".to_owned(),
        Refusal::Method => "see the Allow header for the methods of this route".to_owned(),
        Refusal::NotCancellable(Status::Scheduled) => "it is due now".to_owned(),
        Refusal::NotCancellable(status) => format!("it is {}, not scheduled", status.as_str()),
        Refusal::BodyLate => "the body did not arrive in time".to_owned(),
        Refusal::BodyTooLarge(limit) => format!("the body is over the limit of {limit} bytes"),
        Refusal::MediaType(expected) => (*expected).to_owned(),
        Refusal::KeyReused => "the same Idempotency-Key came with another body within 24 hours".to_owned(),
        Refusal::Overloaded(Busy::Process) => "as much work as this process takes is under way".to_owned(),
        Refusal::Overloaded(Busy::Tenant) => "the tenant's share of this process is in use".to_owned(),
        Refusal::Overloaded(Busy::Producer) => "too many records wait for Kafka".to_owned(),
        Refusal::Unavailable(dependency, _) => format!("{dependency} is unavailable; nothing was accepted"),
        Refusal::OutcomeUnknown(_) => {
            "Kafka did not answer in time: it may or may not have the notification".to_owned()
        }
        Refusal::Internal(_) => "this is a bug of ours; the correlation id finds it in the log".to_owned(),
    }
}

fn errors(refusal: &Refusal) -> &[FieldError] {
    match refusal {
        Refusal::Fields(errors) | Refusal::Parameters(errors) => errors,
        _ => &[],
    }
}

fn sentence(errors: &[FieldError]) -> String {
    match errors {
        [] => "a rule is broken".to_owned(),
        [error] => format!("{} {}", error.path, error.message)
            .trim_start()
            .to_owned(),
        [error, rest @ ..] => format!("{} {}, and {} more", error.path, error.message, rest.len()),
    }
}

fn one_of(scopes: &'static [carillon_schemas::claims::Scope]) -> String {
    let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
    names.join(" or ")
}

/// The headers that belong to a refusal.
fn tell(refusal: &Refusal, status: StatusCode, headers: &mut HeaderMap) {
    match refusal {
        Refusal::Credential(AuthError::Missing) => {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"carillon\""),
            );
        }
        Refusal::Credential(error) => {
            let challenge =
                format!("Bearer realm=\"carillon\", error=\"invalid_token\", error_description=\"{error}\"");
            set(headers, WWW_AUTHENTICATE, challenge);
        }
        Refusal::Scope(scopes) => {
            let scopes = Scopes::of(scopes);
            let challenge =
                format!("Bearer realm=\"carillon\", error=\"insufficient_scope\", scope=\"{scopes}\"");
            set(headers, WWW_AUTHENTICATE, challenge);
        }
        Refusal::NotYetVisible => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // What was not read of the body is in the way of the next request.
        Refusal::BodyLate | Refusal::BodyTooLarge(_) => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // One to three seconds, so that those who were refused together do not come back together.
        headers.insert(RETRY_AFTER, HeaderValue::from(rand::random_range(1..=3u16)));
    }
}

fn json(status: StatusCode, kind: HeaderValue, value: &impl Serialize) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(value).map_err(|e| Refusal::Internal(e.to_string()))?;
    let mut response = with_status(status, Bytes::from(body).into());
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

fn with_status(status: StatusCode, body: axum::body::Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value)) {
        headers.insert(name, value);
    }
}
