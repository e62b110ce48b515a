//! A submitted notification: what a producer may write, checked field by field.
//!
//! In: the bytes of a request body. Out: a [`Submission`], or every broken rule with its path.
//! Always: a well-formed body is parsed once; only a refused one is looked at again for its errors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{ChannelName, CorrelationId, TenantId, UserId, limits, problem::FieldError};

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
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    priority: Present,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    ttl_seconds: Present,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    collapse_key: Present,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    require_ack: Present,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    deliver_at: Present,
}

/// Whether a field stood in the body with a value other than null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<serde::de::IgnoredAny>::deserialize(d)?.is_some()))
    }
}

/// Known fields that are not built yet: refused, because ignoring a time to live would be a lie.
pub const UNSUPPORTED_FIELDS: [&str; 5] = [
    "priority",
    "ttl_seconds",
    "collapse_key",
    "require_ack",
    "deliver_at",
];

/// Why a body was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionError {
    /// Not JSON; the text says where.
    Json(String),
    /// Broken rules, one per field.
    Fields(Vec<FieldError>),
    /// Known fields that are not built yet.
    Unsupported(Vec<FieldError>),
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
            priority: Present(false),
            ttl_seconds: Present(false),
            collapse_key: Present(false),
            require_ack: Present(false),
            deliver_at: Present(false),
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
        let unsupported = submission.unsupported();
        if !unsupported.is_empty() {
            return Err(SubmissionError::Unsupported(unsupported));
        }
        let mut errors = Vec::new();
        submission.check(&mut errors);
        if errors.is_empty() {
            Ok(submission)
        } else {
            Err(SubmissionError::Fields(errors))
        }
    }

    fn unsupported(&self) -> Vec<FieldError> {
        let present = [
            self.priority,
            self.ttl_seconds,
            self.collapse_key,
            self.require_ack,
            self.deliver_at,
        ];
        let named = UNSUPPORTED_FIELDS.iter().zip(present).filter(|(_, p)| p.0);
        named
            .map(|(name, _)| FieldError::new(format!("/{name}"), "is not supported yet"))
            .collect()
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
    if errors.is_empty() {
        // Something only the typed parser minds, such as a field that stands twice.
        return SubmissionError::Json(error.to_string());
    }
    SubmissionError::Fields(errors)
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
            Err(SubmissionError::Fields(e) | SubmissionError::Unsupported(e)) => {
                e.into_iter().map(|e| e.path).collect()
            }
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
    fn a_known_field_that_is_not_built_yet_is_refused_and_an_unknown_one_ignored() {
        for name in UNSUPPORTED_FIELDS {
            assert_eq!(
                paths(&format!(r#"{{"content":"x","{name}":1}}"#)),
                [format!("/{name}")]
            );
            assert!(Submission::parse(format!(r#"{{"content":"x","{name}":null}}"#).as_bytes()).is_ok());
        }
        assert!(Submission::parse(br#"{"content":"x","nobody_knows":1}"#).is_ok());
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
