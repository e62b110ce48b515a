//! An operator: orders things, and looks at what became of them.
//!
//! In: orders. Out: records on the commands topic; rows of the store. Always: what is waited for is waited for by
//! its condition.

use bytes::Bytes;
use carillon_bus::Outgoing;
use carillon_chassis::clock::Clock;
use carillon_fixtures::eventually;
use carillon_schemas::{
    audit::{AuditEntry, AuditKind},
    command::{self, Command, Order},
    dead_letter::{DeadLetterId, DeadLetterRow, DeadLetterState, Job, JobState, RedriveRequest},
    headers::{self, Headers},
};
use carillon_store::{AuditQuery, DeadLetter, DeadLettersQuery, NotificationStore};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    records::{id, record, tenant},
    stack::Stack,
};

pub(crate) const OPERATOR: &str = "ops-7";

/// A record of a topic beside the notifications.
pub(crate) fn beside(topic: &str, tenant: &str, schema: &'static str, value: &impl Serialize) -> Outgoing {
    let mut headers = Headers::default();
    headers.set(headers::TENANT, tenant.to_owned());
    headers.set(headers::SCHEMA, schema);
    Outgoing {
        topic: topic.into(),
        partition: None,
        key: Bytes::copy_from_slice(tenant.as_bytes()),
        value: serde_json::to_vec(value).unwrap().into(),
        headers,
    }
}

pub(crate) fn job_id(n: u128) -> Uuid {
    Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_0000 + n)
}

pub(crate) fn fast() -> RedriveRequest {
    RedriveRequest {
        rate_per_second: Some(10_000),
        ..RedriveRequest::default()
    }
}

impl Stack {
    /// Gives an order.
    pub(crate) async fn order(&self, tenant_name: &str, id: Uuid, order: Order) {
        let command = Command {
            id,
            tenant_id: tenant(tenant_name),
            actor: Some(OPERATOR.to_owned()),
            at: Clock::system().unix_ms(),
            order,
        };
        let topic = &self.bus.topics.commands;
        self.publish([beside(topic, tenant_name, command::SCHEMA, &command)])
            .await;
    }

    pub(crate) async fn job(&self, tenant_name: &str, id: Uuid) -> Option<Job> {
        self.store.job(&tenant(tenant_name), id).await.unwrap()
    }

    /// A job, when it is through.
    pub(crate) async fn ended(&self, tenant_name: &str, id: Uuid) -> Job {
        let through = |job: &Option<Job>| job.as_ref().is_some_and(|job| job.state != JobState::Running);
        eventually("job", || self.job(tenant_name, id), through)
            .await
            .unwrap()
    }

    /// The tenant's trail, oldest first.
    pub(crate) async fn trail(&self, tenant_name: &str) -> Vec<AuditEntry> {
        let query = AuditQuery {
            limit: 500,
            ..AuditQuery::default()
        };
        let page = self.store.audit_trail(&tenant(tenant_name), &query).await;
        let mut entries = page.unwrap().entries;
        entries.reverse();
        entries
    }

    /// The codes in the trail of a tenant that are of this kind.
    pub(crate) async fn codes(&self, tenant_name: &str, kind: AuditKind) -> Vec<String> {
        let mut entries = self.trail(tenant_name).await;
        entries.retain(|entry| entry.kind == kind);
        entries.into_iter().map(|entry| entry.code).collect()
    }

    pub(crate) async fn letters(&self, tenant_name: &str) -> Vec<DeadLetterRow> {
        let mut query = DeadLettersQuery {
            limit: 500,
            oldest_first: true,
            ..DeadLettersQuery::default()
        };
        let mut rows = Vec::new();
        loop {
            let page = self.store.dead_letters(&tenant(tenant_name), &query).await;
            let page = page.unwrap();
            rows.extend(page.rows);
            query.cursor = page.next;
            if query.cursor.is_none() {
                return rows;
            }
        }
    }

    /// Dead letters of a tenant on the topic and in the index, as the pipeline leaves them.
    pub(crate) async fn bury(
        &self,
        tenant_name: &str,
        numbers: std::ops::Range<u64>,
        redrives: u8,
        code: &str,
    ) {
        let mut rows = Vec::new();
        let a_while_ago = Clock::system().unix_ms() - 60_000;
        for n in numbers {
            let letter = letter(self, tenant_name, n, redrives, code);
            let bytes = letter.value.len() as u64;
            let ack = self.producer.send(letter).unwrap().await.unwrap();
            rows.push(DeadLetter {
                tenant: tenant(tenant_name),
                row: DeadLetterRow {
                    id: DeadLetterId {
                        partition: ack.partition,
                        offset: ack.offset,
                    },
                    at: a_while_ago + n,
                    notification_id: Some(id(n)),
                    channel: Some("alerts".parse().unwrap()),
                    error_class: "permanent".to_owned(),
                    error_code: code.to_owned(),
                    error_message: "on purpose".to_owned(),
                    origin: "carillon.notifications.v1/0/1".to_owned(),
                    attempt: 1,
                    redrive_count: redrives,
                    bytes,
                    state: DeadLetterState::Waiting,
                    job_id: None,
                },
                node: "router-0".into(),
            });
        }
        self.store.dead(&rows).await.unwrap();
    }
}

fn letter(stack: &Stack, tenant_name: &str, n: u64, redrives: u8, code: &str) -> Outgoing {
    let mut letter = record(tenant_name, n);
    letter.topic = stack.bus.topics.dead_letters.as_str().into();
    for (name, value) in [
        (headers::ORIGIN, "carillon.notifications.v1/0/1"),
        (headers::ATTEMPT, "1"),
        (headers::ERROR_CLASS, "permanent"),
        (headers::DLT_TOPIC, "carillon.notifications.v1"),
        ("x-theirs", "kept"),
    ] {
        letter.headers.set(name, value);
    }
    letter.headers.set(headers::ERROR_CODE, code.to_owned());
    letter.headers.set(headers::REDRIVE_COUNT, redrives.to_string());
    letter.headers.set(headers::HOPS, redrives.to_string());
    letter
}
