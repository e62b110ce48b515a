//! Admin routes: health, readiness, metrics.
//!
//! In: a process's conditions and registry. Out: `/health`, `/ready`, `/metrics`.
//! Always: `/health` says that the process answers, `/ready` that it takes work and otherwise what is unmet.

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::{metrics::Metrics, readiness::Readiness};

/// The routes of a process's admin port.
pub fn routes(readiness: &Readiness, metrics: &Metrics) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready).with_state(readiness.clone()))
        .route("/metrics", get(render).with_state(metrics.clone()))
}

async fn health() -> Json<serde_json::Value> {
    Json(json!({"status": "ok"}))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let unmet = readiness.unmet();
    if unmet.is_empty() {
        return Json(json!({"status": "ready"})).into_response();
    }
    let unmet: Vec<_> = unmet
        .iter()
        .map(|(name, why)| json!({"condition": name, "reason": why}))
        .collect();
    (
        StatusCode::SERVICE_UNAVAILABLE,
        Json(json!({"status": "unready", "unmet": unmet})),
    )
        .into_response()
}

async fn render(State(metrics): State<Metrics>) -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        metrics.render(),
    )
        .into_response()
}
