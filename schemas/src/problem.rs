//! Problems: the one shape of every HTTP error (RFC 9457), with a closed list of codes.
//!
//! In: a code and what is known about the request. Out: `application/problem+json`.
//! Always: `code` is one of [`ProblemCode::ALL`]; the detail is public text and names no internals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::CorrelationId;

macro_rules! problem_codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal $code:literal $title:literal,)*) => {
        /// The closed list of error codes. Each has one status and one title.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ProblemCode {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl ProblemCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code as clients see it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            /// The short title, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }
        }
    };
}

problem_codes! {
    /// The body is not JSON.
    InvalidJson = 400 "invalid_json" "The body is not valid JSON",
    /// One or more fields break their rule; `errors` has a path for each.
    InvalidField = 400 "invalid_field" "A field is not valid",
    /// A field that is known but not built yet.
    UnsupportedField = 400 "unsupported_field" "A field is not supported yet",
    /// A query parameter, path segment or header breaks its rule.
    InvalidParameter = 400 "invalid_parameter" "A parameter is not valid",
    /// No bearer token.
    TokenMissing = 401 "token_missing" "A bearer token is required",
    /// The token cannot be trusted.
    TokenInvalid = 401 "token_invalid" "The token is not valid",
    /// The token was good once.
    TokenExpired = 401 "token_expired" "The token has expired",
    /// The token lacks the scope of this route.
    ScopeMissing = 403 "scope_missing" "The token lacks a scope",
    /// The body names another tenant than the token.
    TenantMismatch = 403 "tenant_mismatch" "The tenant is not the token's",
    /// The token does not reach this channel.
    ChannelForbidden = 403 "channel_forbidden" "The channel is not permitted",
    /// A browser's origin is not on the list.
    OriginForbidden = 403 "origin_forbidden" "The origin is not allowed",
    /// No such route or thing, or another tenant's.
    NotFound = 404 "not_found" "Not found",
    /// Accepted a moment ago and not stored yet: ask again.
    NotYetVisible = 404 "not_yet_visible" "Not visible yet",
    /// The route exists with other methods.
    MethodNotAllowed = 405 "method_not_allowed" "The method is not allowed here",
    /// The body did not arrive in time.
    RequestTimeout = 408 "request_timeout" "The request took too long to arrive",
    /// The notification is not scheduled, or due too soon.
    NotCancellable = 409 "not_cancellable" "The notification cannot be cancelled",
    /// The body is over its limit.
    BodyTooLarge = 413 "body_too_large" "The body is too large",
    /// The body's content type is not understood.
    UnsupportedMediaType = 415 "unsupported_media_type" "The content type is not supported",
    /// The same key came with another body.
    IdempotencyKeyReused = 422 "idempotency_key_reused" "The idempotency key was used for another body",
    /// The tenant is over its rate.
    RateLimited = 429 "rate_limited" "Too many requests",
    /// A bug of ours.
    Internal = 500 "internal" "Something went wrong on our side",
    /// More work than this process takes at once.
    Overloaded = 503 "overloaded" "Too busy, try again",
    /// Kafka or the store cannot be reached.
    Unavailable = 503 "unavailable" "A dependency is unavailable, try again",
    /// Kafka did not answer in time: it may or may not have the notification.
    OutcomeUnknown = 503 "outcome_unknown" "The outcome is unknown, repeat with the same Idempotency-Key",
}

/// One broken rule, with the path of the field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// Where: a JSON Pointer such as `/content`, a header or a parameter name.
    pub path: String,
    /// Which rule.
    pub message: String,
}

impl FieldError {
    /// A broken rule at a path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

/// The body of every HTTP error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `urn:carillon:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code's title.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The code.
    pub code: ProblemCode,
    /// What happened to this request.
    pub detail: String,
    /// The request's id, also in `X-Correlation-Id`.
    pub correlation_id: Option<CorrelationId>,
    /// The broken rules, one per field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem of a code, with a detail for this request.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:carillon:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: detail.into(),
            correlation_id: None,
            errors: Vec::new(),
        }
    }

    /// The same with the broken rules.
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }
}
