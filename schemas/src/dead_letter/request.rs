//! Reading what a job is asked for, with every broken rule named.
//!
//! In: the bytes of a request body. Out: a request whose figures are within their bounds, or every broken rule with
//! its path. Always: a field that nobody knows is an error, because a filter that is read past its misspelt half
//! would move everything.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{DeadLetterFilter, RedriveRequest, ReplayRequest};
use crate::{limits, notification::SubmissionError, problem::FieldError};

/// A field with the rule of its type.
type Rule = (&'static str, &'static str);

const COUNT: &str = "must be a whole number, not negative";
const MOMENT: &str = "must be Unix milliseconds";
const ID: &str = "must be a UUID";
const REDRIVE: &[Rule] = &[
    ("redrive_id", ID),
    ("filter", "must be an object"),
    ("max", COUNT),
    ("rate_per_second", COUNT),
    ("dry_run", "must be true or false"),
];
const FILTER: &[Rule] = &[
    ("error_class", "must be a string"),
    ("since", MOMENT),
    ("until", MOMENT),
    ("ids", "must be a list of names such as 3-1042"),
];
const REPLAY: &[Rule] = &[
    ("replay_id", ID),
    ("since", MOMENT),
    ("until", MOMENT),
    ("channel", "must be the name of a channel"),
    ("rate_per_second", COUNT),
];

impl RedriveRequest {
    /// Parses and checks a body.
    ///
    /// # Errors
    /// [`SubmissionError`] with every broken rule.
    pub fn parse(body: &[u8]) -> Result<Self, SubmissionError> {
        let request: Self = read(body, judge_redrive)?;
        let mut errors = Vec::new();
        check_rate(request.rate_per_second, &mut errors);
        if request.max == Some(0) {
            errors.push(FieldError::new("/max", "must be at least 1"));
        }
        let filter = &request.filter;
        if filter.ids.len() > limits::JOB_IDS {
            let rule = format!("must be at most {} names", limits::JOB_IDS);
            errors.push(FieldError::new("/filter/ids", rule));
        }
        if filter.error_class.as_ref().is_some_and(String::is_empty) {
            errors.push(FieldError::new("/filter/error_class", "must not be empty"));
        }
        if let (Some(since), Some(until)) = (filter.since, filter.until) {
            check_span("/filter/until", since, until, &mut errors);
        }
        finish(request, errors)
    }
}

impl ReplayRequest {
    /// Parses and checks a body.
    ///
    /// # Errors
    /// [`SubmissionError`] with every broken rule.
    pub fn parse(body: &[u8]) -> Result<Self, SubmissionError> {
        let request: Self = read(body, judge_replay)?;
        let mut errors = Vec::new();
        check_rate(request.rate_per_second, &mut errors);
        check_span("/until", request.since, request.until, &mut errors);
        finish(request, errors)
    }
}

fn judge_redrive(fields: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let mut fields = fields.clone();
    match fields.remove("filter") {
        None => {}
        Some(Value::Object(filter)) => {
            judge::<DeadLetterFilter>("/filter", &filter, FILTER, &Map::new(), errors);
        }
        Some(_) => errors.push(FieldError::new("/filter", "must be an object")),
    }
    judge::<RedriveRequest>("", &fields, REDRIVE, &Map::new(), errors);
}

fn judge_replay(fields: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let required = ["since", "until"];
    for name in required.into_iter().filter(|name| !fields.contains_key(*name)) {
        errors.push(FieldError::new(format!("/{name}"), "is required"));
    }
    let base = required.map(|name| (name.to_owned(), Value::from(0)));
    judge::<ReplayRequest>("", fields, REPLAY, &base.into_iter().collect(), errors);
}

fn finish<T>(request: T, errors: Vec<FieldError>) -> Result<T, SubmissionError> {
    if errors.is_empty() {
        Ok(request)
    } else {
        Err(SubmissionError::Fields(errors))
    }
}

fn check_rate(rate: Option<u32>, errors: &mut Vec<FieldError>) {
    if rate.is_some_and(|rate| rate == 0 || rate > limits::JOB_RATE) {
        let rule = format!("must be 1 to {}", limits::JOB_RATE);
        errors.push(FieldError::new("/rate_per_second", rule));
    }
}

fn check_span(path: &str, since: u64, until: u64, errors: &mut Vec<FieldError>) {
    if since >= until {
        errors.push(FieldError::new(path, "must be later than since"));
    }
}

/// Reads a body as plain JSON, judges every field, and only then reads it as what it is: serde alone would take a
/// list for an object, and an empty list for one without restrictions.
fn read<T: DeserializeOwned>(
    body: &[u8],
    judge: fn(&Map<String, Value>, &mut Vec<FieldError>),
) -> Result<T, SubmissionError> {
    let json = |error: serde_json::Error| SubmissionError::Json(error.to_string());
    let Value::Object(fields) = serde_json::from_slice(body).map_err(json)? else {
        return Err(SubmissionError::Fields(vec![FieldError::new(
            "",
            "must be an object",
        )]));
    };
    let mut errors = Vec::new();
    judge(&fields, &mut errors);
    if !errors.is_empty() {
        return Err(SubmissionError::Fields(errors));
    }
    serde_json::from_slice(body).map_err(json)
}

/// Judges each field by whether an object that has only it, beside what is required, is one of `T`.
fn judge<T: DeserializeOwned>(
    path: &str,
    fields: &Map<String, Value>,
    rules: &[Rule],
    required: &Map<String, Value>,
    errors: &mut Vec<FieldError>,
) {
    for (name, value) in fields {
        let Some((_, rule)) = rules.iter().find(|(known, _)| known == name) else {
            let known: Vec<_> = rules.iter().map(|(known, _)| *known).collect();
            let rule = format!("is not known; there are {}", known.join(", "));
            errors.push(FieldError::new(format!("{path}/{}", escape(name)), rule));
            continue;
        };
        let mut alone = required.clone();
        alone.insert(name.clone(), value.clone());
        if serde_json::from_value::<T>(Value::Object(alone)).is_err() {
            errors.push(FieldError::new(format!("{path}/{name}"), *rule));
        }
    }
}

/// A name inside a JSON Pointer (RFC 6901), and not longer than a name of ours would be.
fn escape(name: &str) -> String {
    let short: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    short.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths<T: std::fmt::Debug>(parsed: Result<T, SubmissionError>) -> Vec<String> {
        let mut paths: Vec<_> = match parsed {
            Err(SubmissionError::Fields(errors)) => errors.into_iter().map(|e| e.path).collect(),
            other => panic!("{other:?}"),
        };
        paths.sort();
        paths
    }

    fn redrive(body: &str) -> Result<RedriveRequest, SubmissionError> {
        RedriveRequest::parse(body.as_bytes())
    }

    fn replay(body: &str) -> Result<ReplayRequest, SubmissionError> {
        ReplayRequest::parse(body.as_bytes())
    }

    #[test]
    fn a_filter_that_is_misspelt_is_refused_with_its_path() {
        let body = r#"{"filter":{"class":"transient","ids":["3-1","x"]},"rate":5,"a/b":1}"#;
        assert_eq!(
            paths(redrive(body)),
            ["/a~1b", "/filter/class", "/filter/ids", "/rate"]
        );
        let body = r#"{"filter":7,"max":-1,"dry_run":"yes","redrive_id":"x","rate_per_second":1.5}"#;
        let expected = ["/dry_run", "/filter", "/max", "/rate_per_second", "/redrive_id"];
        assert_eq!(paths(redrive(body)), expected);
        let twice = r#"{"max":1,"max":2}"#;
        assert!(matches!(redrive(twice), Err(SubmissionError::Json(_))));
        assert_eq!(paths(redrive("[]")), [""]);
        assert_eq!(paths(redrive(r#"{"filter":[]}"#)), ["/filter"]);
    }

    #[test]
    fn figures_of_a_redrive_have_bounds() {
        assert!(redrive("{}").is_ok() && redrive(r#"{"max":null,"rate_per_second":10000}"#).is_ok());
        let ids = vec![r#""0-1""#; limits::JOB_IDS + 1].join(",");
        let body = format!(
            r#"{{"rate_per_second":10001,"max":0,"filter":{{"error_class":"","since":2,"until":2,"ids":[{ids}]}}}}"#
        );
        let expected = [
            "/filter/error_class",
            "/filter/ids",
            "/filter/until",
            "/max",
            "/rate_per_second",
        ];
        assert_eq!(paths(redrive(&body)), expected);
    }

    #[test]
    fn a_replay_needs_a_span_of_time() {
        assert!(replay(r#"{"since":1,"until":2,"channel":"alerts"}"#).is_ok());
        let body = r#"{"since":2,"until":2,"rate_per_second":0}"#;
        assert_eq!(paths(replay(body)), ["/rate_per_second", "/until"]);
        let body = r#"{"until":"x","channel":"a b","chanel":"c"}"#;
        assert_eq!(paths(replay(body)), ["/chanel", "/channel", "/since", "/until"]);
    }
}
