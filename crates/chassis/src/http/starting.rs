//! Before a process takes work: every request is told to come back.
//!
//! In: the problem to answer with. Out: routes. Always: whoever asks gets an answer at once instead of
//! waiting in a queue that nobody serves.

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
};

/// How soon to ask again, in seconds.
const AGAIN: &str = "1";

/// Routes that answer everything with 503 and this `application/problem+json`.
pub fn starting(problem: String) -> Router {
    Router::new().fallback(move || {
        let problem = problem.clone();
        async move {
            let headers = [
                (header::CONTENT_TYPE, "application/problem+json"),
                (header::RETRY_AFTER, AGAIN),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (StatusCode::SERVICE_UNAVAILABLE, headers, problem).into_response()
        }
    })
}
