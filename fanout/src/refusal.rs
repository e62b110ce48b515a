//! Refusals: what a request that becomes no session is answered.
//!
//! In: a code, a detail, headers. Out: `application/problem+json` (RFC 9457) with a correlation id.
//! Always: this is the only place of this room that turns a problem into a response.

use axum::{body::Body, response::Response};
use carillon_chassis::clock::Clock;
use carillon_schemas::{
    CorrelationId, NotificationId, TenantId,
    problem::{Problem, ProblemCode},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// A refused request.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The problem's code.
    pub(crate) code: ProblemCode,
    /// Whose request it was, where that is known.
    pub(crate) tenant: Option<TenantId>,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// A problem of a code, in words for the client.
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            tenant: None,
            detail: detail.into(),
            headers: Vec::new(),
        }
    }

    /// With a header.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Of a request of this tenant.
    pub(crate) fn of(mut self, tenant: Option<&TenantId>) -> Self {
        self.tenant = tenant.cloned();
        self
    }

    /// The response to a request with these headers.
    pub(crate) fn response(&self, asked: &HeaderMap, clock: &Clock) -> Response {
        let mut headers = HeaderMap::new();
        let correlation = correlate(&mut headers, asked, clock);
        let mut problem = Problem::new(self.code, self.detail.clone());
        problem.correlation_id = correlation;
        let mut response = Response::new(Body::from(serde_json::to_vec(&problem).unwrap_or_default()));
        *response.status_mut() =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.extend(self.headers.iter().cloned());
        *response.headers_mut() = headers;
        response
    }
}

/// Puts the correlation id of a request with these headers into an answer's.
pub(crate) fn correlate(headers: &mut HeaderMap, asked: &HeaderMap, clock: &Clock) -> Option<CorrelationId> {
    let correlation = correlation_id(asked, clock)?;
    let value = HeaderValue::from_str(correlation.as_str()).ok()?;
    headers.insert(CORRELATION_ID, value);
    Some(correlation)
}

/// The request's own, or a new one.
fn correlation_id(asked: &HeaderMap, clock: &Clock) -> Option<CorrelationId> {
    let own = asked.get(CORRELATION_ID).and_then(|value| value.to_str().ok());
    let own = own.and_then(|text| text.parse().ok());
    own.or_else(|| {
        let random: [u8; 10] = rand::random();
        NotificationId::at(clock.unix_ms(), &random)
            .to_string()
            .parse()
            .ok()
    })
}
