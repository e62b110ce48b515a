//! Bodies: from frames to bytes, within a size and a time.
//!
//! In: a request's headers and body. Out: all of its bytes.
//! Always: a body that says it is too large is refused unread; one that does not say is refused when it is; a
//! body that came in one piece is not copied.

use std::{future::poll_fn, pin::Pin, time::Duration};

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};

use crate::refusal::Refusal;

/// Whether the body is JSON as it stands: no type at all counts as JSON.
///
/// # Errors
/// [`Refusal::MediaType`].
pub(super) fn must_be_json(headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        let kind = kind.as_bytes();
        let essence = kind.split(|c| *c == b';').next().unwrap_or(kind).trim_ascii();
        if !essence.eq_ignore_ascii_case(b"application/json") {
            return Err(Refusal::MediaType("the body must be application/json"));
        }
    }
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Refusal::MediaType("the body must not be compressed"))
        }
        _ => Ok(()),
    }
}

/// All bytes of a body.
///
/// # Errors
/// [`Refusal::BodyTooLarge`], [`Refusal::BodyLate`], and [`Refusal::NotJson`] for one that broke off.
pub(super) async fn collect(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    deadline: Duration,
) -> Result<Bytes, Refusal> {
    let said = headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| said > limit as u64) {
        return Err(Refusal::BodyTooLarge(limit));
    }
    match tokio::time::timeout(deadline, gather(body, limit)).await {
        Ok(gathered) => gathered,
        Err(_) => Err(Refusal::BodyLate),
    }
}

async fn gather(mut body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| Refusal::NotJson("the body broke off".to_owned()))?;
        let Ok(data) = frame.into_data() else {
            continue; // Trailers.
        };
        if first.len() + all.len() + data.len() > limit {
            return Err(Refusal::BodyTooLarge(limit));
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(name: http::HeaderName, value: &'static str) -> Result<(), Refusal> {
        must_be_json(&HeaderMap::from_iter([(
            name,
            http::HeaderValue::from_static(value),
        )]))
    }

    #[test]
    fn json_by_any_parameters_passes_and_other_types_do_not() {
        assert_eq!(must_be_json(&HeaderMap::new()), Ok(()));
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
        ] {
            assert_eq!(judged(CONTENT_TYPE, good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/jsonx",
            "application/x-www-form-urlencoded",
        ] {
            assert!(judged(CONTENT_TYPE, bad).is_err(), "{bad}");
        }
        assert_eq!(judged(CONTENT_ENCODING, "identity"), Ok(()));
        assert!(judged(CONTENT_ENCODING, "gzip").is_err());
    }
}
