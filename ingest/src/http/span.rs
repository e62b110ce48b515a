//! Spans: what ties a request to its log lines, its notification and its trace.
//!
//! In: the headers of a request. Out: its correlation id and its trace context.
//! Always: every request has a correlation id, its own or one that we make; no span is opened per request, so
//! that a request that goes well costs the log nothing.

use bytes::Bytes;
use carillon_schemas::{CorrelationId, NotificationId, headers};
use http::HeaderMap;

use super::problem::CORRELATION;
use crate::refusal::Refusal;

/// The correlation id that came in a header.
///
/// # Errors
/// [`Refusal::Parameters`] when it breaks its rule.
pub(super) fn given(headers: &HeaderMap) -> Result<Option<CorrelationId>, Refusal> {
    let Some(value) = headers.get(CORRELATION) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("\u{0}");
    match text.parse() {
        Ok(correlation) => Ok(Some(correlation)),
        Err(error) => Err(Refusal::parameter("X-Correlation-Id", error.to_string())),
    }
}

/// A correlation id for a request that came without: a random UUID with the time in front.
pub(super) fn made_up(now_ms: u64) -> CorrelationId {
    let id = NotificationId::at(now_ms, &rand::random()).to_string();
    match id.parse() {
        Ok(correlation) => correlation,
        Err(_) => unreachable!("a UUID is made of visible ASCII characters"),
    }
}

/// The W3C trace context, if it is well-formed; a broken one is left behind, as the recommendation says.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<Bytes> {
    let value = headers.get(headers::TRACEPARENT)?.as_bytes();
    is_traceparent(value).then(|| Bytes::copy_from_slice(value))
}

/// `version-trace-parent-flags`, lower-case hex of 2, 32, 16 and 2 digits (W3C Trace Context, 3.2).
fn is_traceparent(text: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let not_zero = |part: &[u8]| part.iter().any(|c| *c != b'0');
    let Some((context, more)) = text.split_at_checked(55) else {
        return false;
    };
    let (version, trace, parent, flags) = (&context[..2], &context[3..35], &context[36..52], &context[53..]);
    let dashes = [context[2], context[35], context[52]] == *b"---";
    // Later versions may have more behind a dash; ours has not.
    let end = match version {
        b"00" => more.is_empty(),
        _ => more.is_empty() || (more[0] == b'-' && more.len() <= 200),
    };
    let digits = [version, trace, parent, flags].into_iter().all(hex);
    dashes && digits && end && version != b"ff" && not_zero(trace) && not_zero(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_context_passes_only_when_it_is_well_formed() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good.as_bytes()));
        assert!(is_traceparent(format!("01{}-more", &good[2..]).as_bytes()));
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &format!("{good}-more"),
            &format!("ff{}", &good[2..]),
            &good.replace('-', "_"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16)),
            &format!("{}g", &good[..54]),
        ] {
            assert!(!is_traceparent(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_correlation_id_that_is_made_up_is_a_uuid_and_never_the_same() {
        let (one, two) = (made_up(1), made_up(1));
        assert!(one != two && one.as_str().len() == 36);
    }
}
