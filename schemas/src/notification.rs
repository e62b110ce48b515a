//! A submitted notification: what a producer may write, checked field by field.
//!
//! In: the bytes of a request body. Out: a [`Submission`], or every broken rule with its path.
//! Always: a well-formed body is parsed once; only a refused one is looked at again for its errors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{ChannelName, CollapseKey, CorrelationId, TenantId, UserId, limits, problem::FieldError};

/// Whom a notification addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Everybody who subscribed to the channel.
    #[default]
    Channel,
    /// One user, wherever that user is connected.
    User,
}

/// How urgent a notification is: orders a tenant's channels against each other, never the notifications of one
/// channel.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// After the others.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before the others.
    High,
}

impl Priority {
    /// Whether it is the usual one, which is not written.
    pub fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// The body of `POST /v1/notifications`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Submission {
    /// The tenant, where the token does not say it; must not contradict the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// The channel; `default` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelName>,
    /// The text, 1 byte to 32 KiB of UTF-8.
    pub content: String,
    /// The user it is about or, with `audience: "user"`, for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Whom it addresses; the channel without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// The producer's own type name, up to 128 bytes.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A title, up to 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Any JSON object, handed through as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    pub data: Option<Box<RawValue>>,
    /// One id from the edge to the socket; made up without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
    /// How urgent it is; `normal` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Seconds after its acceptance (or after `deliver_at`) from which on it is not delivered any more, 1 to
    /// 2,592,000 (30 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
    /// A newer notification of the same stream with the same key takes this one's place while it is undelivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapse_key: Option<CollapseKey>,
    /// Whether it is dispatched again until a client acknowledges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_ack: Option<bool>,
    /// Not before this moment, Unix milliseconds, at most 30 days ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<u64>,
}

/// Why a body was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionError {
    /// Not JSON; the text says where.
    Json(String),
    /// Broken rules, one per field.
    Fields(Vec<FieldError>),
}

impl Submission {
    /// A submission of a text, for callers that build one.
    pub fn text(content: impl Into<String>) -> Self {
        Self {
            tenant_id: None,
            channel: None,
            content: content.into(),
            user_id: None,
            audience: None,
            kind: None,
            title: None,
            data: None,
            correlation_id: None,
            priority: None,
            ttl_seconds: None,
            collapse_key: None,
            require_ack: None,
            deliver_at: None,
        }
    }

    /// Parses and checks a body.
    ///
    /// # Errors
    /// [`SubmissionError`] with every broken rule, in the order of the contract's fields.
    pub fn parse(body: &[u8]) -> Result<Self, SubmissionError> {
        let submission: Self = match serde_json::from_slice(body) {
            Ok(submission) => submission,
            Err(error) => return Err(explain(body, &error)),
        };
        let mut errors = Vec::new();
        submission.check(&mut errors);
        if errors.is_empty() {
            Ok(submission)
        } else {
            Err(SubmissionError::Fields(errors))
        }
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        check_content(&self.content, errors);
        check_length("/type", self.kind.as_deref(), limits::TYPE_BYTES, errors);
        check_length("/title", self.title.as_deref(), limits::TITLE_BYTES, errors);
        if self.data.as_ref().is_some_and(|d| !d.get().starts_with('{')) {
            errors.push(FieldError::new("/data", "must be an object"));
        }
        if self.audience == Some(Audience::User) && self.user_id.is_none() {
            errors.push(FieldError::new("/user_id", "is required when audience is user"));
        }
        check_ttl(self.ttl_seconds.map(u64::from), errors);
    }
}

fn check_ttl(seconds: Option<u64>, errors: &mut Vec<FieldError>) {
    if seconds.is_some_and(|s| s == 0 || s > u64::from(limits::TTL_SECONDS)) {
        let rule = format!("must be 1 to {} seconds", limits::TTL_SECONDS);
        errors.push(FieldError::new("/ttl_seconds", rule));
    }
}

fn check_content(content: &str, errors: &mut Vec<FieldError>) {
    if content.is_empty() {
        errors.push(FieldError::new("/content", "must not be empty"));
    }
    check_length("/content", Some(content), limits::CONTENT_BYTES, errors);
}

fn check_length(path: &str, text: Option<&str>, max: usize, errors: &mut Vec<FieldError>) {
    if text.is_some_and(|t| t.len() > max) {
        errors.push(FieldError::new(path, format!("must be at most {max} bytes long")));
    }
}

/// The slow path: a body that did not parse is read again as plain JSON, and every field is judged.
fn explain(body: &[u8], error: &serde_json::Error) -> SubmissionError {
    let fields = match serde_json::from_slice::<Value>(body) {
        Err(_) => return SubmissionError::Json(error.to_string()),
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return SubmissionError::Fields(vec![FieldError::new("", "must be an object")]),
    };
    let mut errors = Vec::new();
    judge_id::<TenantId>(&fields, "tenant_id", &mut errors);
    judge_id::<ChannelName>(&fields, "channel", &mut errors);
    match text(&fields, "content", &mut errors) {
        Some(content) => check_content(content, &mut errors),
        None if fields.get("content").is_none_or(Value::is_null) => {
            errors.push(FieldError::new("/content", "is required"));
        }
        None => {}
    }
    judge_id::<UserId>(&fields, "user_id", &mut errors);
    if let Some(audience) = text(&fields, "audience", &mut errors)
        && !matches!(audience, "channel" | "user")
    {
        errors.push(FieldError::new("/audience", "must be channel or user"));
    }
    check_length(
        "/type",
        text(&fields, "type", &mut errors),
        limits::TYPE_BYTES,
        &mut errors,
    );
    check_length(
        "/title",
        text(&fields, "title", &mut errors),
        limits::TITLE_BYTES,
        &mut errors,
    );
    if fields.get("data").is_some_and(|d| !d.is_object() && !d.is_null()) {
        errors.push(FieldError::new("/data", "must be an object"));
    }
    judge_id::<CorrelationId>(&fields, "correlation_id", &mut errors);
    judge_time(&fields, &mut errors);
    if errors.is_empty() {
        // Something only the typed parser minds, such as a field that stands twice.
        return SubmissionError::Json(error.to_string());
    }
    SubmissionError::Fields(errors)
}

/// The fields that say when and how a notification is delivered.
fn judge_time(fields: &serde_json::Map<String, Value>, errors: &mut Vec<FieldError>) {
    if let Some(priority) = text(fields, "priority", errors)
        && !matches!(priority, "low" | "normal" | "high")
    {
        errors.push(FieldError::new("/priority", "must be low, normal or high"));
    }
    check_ttl(number(fields, "ttl_seconds", errors), errors);
    judge_id::<CollapseKey>(fields, "collapse_key", errors);
    if fields
        .get("require_ack")
        .is_some_and(|v| !v.is_boolean() && !v.is_null())
    {
        errors.push(FieldError::new("/require_ack", "must be true or false"));
    }
    number(fields, "deliver_at", errors);
}

fn number(fields: &serde_json::Map<String, Value>, name: &str, errors: &mut Vec<FieldError>) -> Option<u64> {
    match fields.get(name) {
        None | Some(Value::Null) => None,
        Some(value) => value.as_u64().or_else(|| {
            errors.push(FieldError::new(
                format!("/{name}"),
                "must be a whole number, not negative",
            ));
            None
        }),
    }
}

fn text<'a>(
    fields: &'a serde_json::Map<String, Value>,
    name: &str,
    errors: &mut Vec<FieldError>,
) -> Option<&'a str> {
    match fields.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => {
            errors.push(FieldError::new(format!("/{name}"), "must be a string"));
            None
        }
    }
}

fn judge_id<T: std::str::FromStr<Err = crate::ids::IdError>>(
    fields: &serde_json::Map<String, Value>,
    name: &str,
    errors: &mut Vec<FieldError>,
) {
    if let Some(text) = text(fields, name, errors)
        && let Err(error) = text.parse::<T>()
    {
        errors.push(FieldError::new(format!("/{name}"), error.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(body: &str) -> Vec<String> {
        match Submission::parse(body.as_bytes()) {
            Err(SubmissionError::Fields(e)) => e.into_iter().map(|e| e.path).collect(),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn every_broken_rule_is_named_with_its_path() {
        let body =
            r#"{"tenant_id":"A","channel":7,"content":"","user_id":"u\u0001","audience":"all","data":[]}"#;
        assert_eq!(
            paths(body),
            [
                "/tenant_id",
                "/channel",
                "/content",
                "/user_id",
                "/audience",
                "/data"
            ]
        );
        assert_eq!(paths(r#"{}"#), ["/content"]);
        assert_eq!(paths(r#"{"content":null}"#), ["/content"]);
        assert_eq!(paths(r#"[]"#), [""]);
        assert_eq!(paths(r#"{"content":"x","audience":"user"}"#), ["/user_id"]);
        assert_eq!(
            paths(&format!(
                r#"{{"content":"{}"}}"#,
                "x".repeat(limits::CONTENT_BYTES + 1)
            )),
            ["/content"]
        );
    }

    #[test]
    fn the_fields_of_time_and_urgency_are_judged_one_by_one() {
        let body = r#"{"content":"x","priority":"urgent","ttl_seconds":0,"collapse_key":"a b","require_ack":1,"deliver_at":-1}"#;
        assert_eq!(
            paths(body),
            [
                "/priority",
                "/ttl_seconds",
                "/collapse_key",
                "/require_ack",
                "/deliver_at"
            ]
        );
        assert_eq!(
            paths(r#"{"content":"x","ttl_seconds":2592001}"#),
            ["/ttl_seconds"]
        );
        let good = r#"{"content":"x","priority":"high","ttl_seconds":60,"collapse_key":"k","require_ack":true,"deliver_at":1}"#;
        let good = Submission::parse(good.as_bytes()).unwrap();
        assert_eq!(
            (good.priority, good.ttl_seconds),
            (Some(Priority::High), Some(60))
        );
        let none = br#"{"content":"x","priority":null,"ttl_seconds":null,"nobody_knows":1}"#;
        assert!(Submission::parse(none).is_ok());
    }

    #[test]
    fn what_is_not_json_is_told_apart() {
        for bad in ["", "{", "\u{fffd}", r#"{"content":"x"} y"#, "nul"] {
            assert!(
                matches!(Submission::parse(bad.as_bytes()), Err(SubmissionError::Json(_))),
                "{bad}"
            );
        }
        assert!(matches!(
            Submission::parse(&[0xff, 0xfe]),
            Err(SubmissionError::Json(_))
        ));
    }

    #[test]
    fn data_is_handed_through_byte_for_byte() {
        let body = br#"{"content":"x","data":{"b": 1.0, "a":[null]}}"#;
        assert_eq!(
            Submission::parse(body).unwrap().data.unwrap().get(),
            r#"{"b": 1.0, "a":[null]}"#
        );
    }
}
