//! CORS: pages of configured origins may call the API (Fetch standard, 3.2).
//!
//! In: requests with an `Origin`. Out: the headers that let a browser hand the answer to its page.
//! Always: no cookie is involved, so that `*` gives away nothing; without configured origins none of this is
//! in the way of a request.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use carillon_chassis::clock::Clock;
use http::{
    HeaderMap, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

use super::{problem, span};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
const SENT: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, x-correlation-id, traceparent");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("location, retry-after, x-correlation-id, www-authenticate");
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Which origins' pages may call.
pub(super) struct Cors {
    any: bool,
    origins: Vec<HeaderValue>,
    clock: Clock,
}

impl Cors {
    /// Of the configured origins; `None` when there are none.
    pub(super) fn of(origins: &[String], clock: &Clock) -> Option<Self> {
        (!origins.is_empty()).then(|| Self {
            any: origins.iter().any(|origin| origin == "*"),
            origins: origins
                .iter()
                .filter_map(|origin| HeaderValue::from_str(origin).ok())
                .collect(),
            clock: clock.clone(),
        })
    }

    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        if self.any {
            return Some(HeaderValue::from_static("*"));
        }
        self.origins.iter().find(|known| *known == origin).cloned()
    }
}

/// Answers preflights, and puts the headers on every other answer.
pub(super) async fn around(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response {
    let allowed = cors.allowed(request.headers());
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &allowed {
        Some(_) if preflight => preflighted(&cors, request.headers()),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    if !cors.any {
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

fn preflighted(cors: &Cors, request: &HeaderMap) -> Response {
    let mut response = problem::empty();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, SENT);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    let given = span::given(request).ok().flatten();
    let correlation = given.unwrap_or_else(|| span::made_up(cors.clock.unix_ms()));
    problem::correlate(&mut response, &correlation);
    response
}
