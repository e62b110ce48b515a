//! The floor for ingest: a handler that parses the same JSON on the same server and answers 202.
//!
//! In: an address to listen on. Out: answers. Always: no authentication, no policy, no Kafka.

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use carillon_chassis::{
    http::{ServeOptions, serve},
    tasks::Tasks,
};
use carillon_schemas::notification::Submission;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listen = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let routes = Router::new().route("/v1/notifications", post(accept));
    serve(listener, routes, &Tasks::new(), ServeOptions::default()).await;
    Ok(())
}

async fn accept(body: Bytes) -> (StatusCode, &'static str) {
    match Submission::parse(&body) {
        Ok(submission) if !submission.content.is_empty() => {
            (StatusCode::ACCEPTED, "{\"status\":\"accepted\"}")
        }
        _ => (StatusCode::BAD_REQUEST, "{}"),
    }
}
