//! JSON Schemas of every contract, generated from the types.
//!
//! In: nothing. Out: file names and texts. Always: the committed files equal what this gives.

use schemars::{JsonSchema, schema_for};

use crate::{audit, command, dead_letter, delivery, envelope, frame, http, notification, problem, receipt};

/// Every schema as (file name, pretty JSON with a final line end), sorted by name.
pub fn all() -> Vec<(&'static str, String)> {
    vec![
        one::<http::Accepted>("accepted.json"),
        one::<audit::AuditEntry>("audit-entry.json"),
        one::<audit::AuditPage>("audit-page.json"),
        one::<http::Cancelling>("cancelling.json"),
        one::<frame::ClientFrame>("client-frame.json"),
        one::<command::Command>("command.json"),
        one::<dead_letter::DeadLetterView>("dead-letter.json"),
        one::<dead_letter::DeadLettersPage>("dead-letters-page.json"),
        one::<http::DeliveriesPage>("deliveries-page.json"),
        one::<delivery::Delivery>("delivery.json"),
        one::<envelope::Envelope>("envelope.json"),
        one::<dead_letter::Job>("job.json"),
        one::<http::NotificationState>("notification-state.json"),
        one::<problem::Problem>("problem.json"),
        one::<receipt::Receipts>("receipts.json"),
        one::<http::RecentPage>("recent-page.json"),
        one::<dead_letter::RedriveRequest>("redrive-request.json"),
        one::<dead_letter::ReplayRequest>("replay-request.json"),
        one::<frame::ServerFrame>("server-frame.json"),
        one::<notification::Submission>("submission.json"),
    ]
}

fn one<T: JsonSchema>(name: &'static str) -> (&'static str, String) {
    let schema = schema_for!(T);
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    (name, text + "\n")
}
