//! What operators find in the store, written as the router would.

use std::sync::Arc;

use bytes::Bytes;
use carillon_schemas::{
    audit::{AuditEntry, AuditKind},
    dead_letter::{DeadLetterId, DeadLetterRow, DeadLetterState},
    envelope::Envelope,
    status::{Stamp, Status},
};
use carillon_store::{DeadLetter, Fact, NewNotification};
use uuid::Uuid;

use crate::support::Stage;

/// Puts a notification into the store, and what happened to it since.
pub(crate) async fn keep(stage: &Stage, envelope: &Envelope, status: Status) {
    let (at_ms, node) = (stage.clock.unix_ms(), Arc::<str>::from("router"));
    let stored = NewNotification {
        redrive: 0,
        bytes: Bytes::from(envelope.to_json().unwrap()),
        envelope: envelope.clone(),
        stream: envelope.stream().unwrap(),
        attempt: 1,
        at_ms,
        node: Arc::clone(&node),
    };
    stage.store.persist(&[stored]).await.unwrap();
    let fact = Fact {
        tenant: envelope.tenant_id.clone(),
        id: envelope.notification_id,
        stamp: Stamp {
            redrive: 0,
            attempt: 1,
            status,
        },
        at_ms,
        node,
        sessions: None,
    };
    stage.store.note(&[fact]).await.unwrap();
}

/// Puts dead letters of `acme` into the index.
pub(crate) async fn bury(stage: &Stage, rows: &[DeadLetterRow]) {
    let letter = |row: &DeadLetterRow| DeadLetter {
        tenant: "acme".parse().unwrap(),
        row: row.clone(),
        node: Arc::from("router"),
    };
    let letters: Vec<_> = rows.iter().map(letter).collect();
    stage.store.dead(&letters).await.unwrap();
}

/// A dead letter at this place, so many milliseconds old.
pub(crate) fn row(stage: &Stage, id: DeadLetterId, age_ms: u64) -> DeadLetterRow {
    DeadLetterRow {
        id,
        at: stage.clock.unix_ms() - age_ms,
        notification_id: None,
        channel: None,
        error_class: "permanent".to_owned(),
        error_code: "not_an_envelope".to_owned(),
        error_message: "expected value".to_owned(),
        origin: "carillon.notifications.v1/2/7".to_owned(),
        attempt: 1,
        redrive_count: 0,
        bytes: 2,
        state: DeadLetterState::Waiting,
        job_id: None,
    }
}

/// An audit entry of `acme`, so many milliseconds old.
pub(crate) fn entry(stage: &Stage, kind: AuditKind, age_ms: u64) -> AuditEntry {
    let at = stage.clock.unix_ms() - age_ms;
    AuditEntry {
        id: Uuid::from_bytes([(age_ms % 251) as u8; 16]),
        tenant_id: "acme".parse().unwrap(),
        at,
        kind,
        code: "rate_limited".to_owned(),
        actor: None,
        node: "ingest".to_owned(),
        subject: None,
        count: 3,
        detail: None,
    }
}
