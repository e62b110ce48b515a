//! JSON Schemas of every contract, generated from the types.
//!
//! In: nothing. Out: file names and texts. Always: the committed files equal what this gives.

use schemars::{JsonSchema, schema_for};

use crate::{delivery, envelope, frame, http, notification, problem};

/// Every schema as (file name, pretty JSON with a final line end), sorted by name.
pub fn all() -> Vec<(&'static str, String)> {
    vec![
        one::<http::Accepted>("accepted.json"),
        one::<frame::ClientFrame>("client-frame.json"),
        one::<http::DeliveriesPage>("deliveries-page.json"),
        one::<delivery::Delivery>("delivery.json"),
        one::<envelope::Envelope>("envelope.json"),
        one::<http::NotificationState>("notification-state.json"),
        one::<problem::Problem>("problem.json"),
        one::<http::RecentPage>("recent-page.json"),
        one::<frame::ServerFrame>("server-frame.json"),
        one::<notification::Submission>("submission.json"),
    ]
}

fn one<T: JsonSchema>(name: &'static str) -> (&'static str, String) {
    let schema = schema_for!(T);
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    (name, text + "\n")
}
