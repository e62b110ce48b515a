//! The audit trail: who was refused what, who did what, what became a dead letter.
//!
//! In: an event of a role. Out: one record, its key the tenant. Always: rejections are summed per tenant, reason
//! and second; an entry names ids and codes, never contents or credentials.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::TenantId;

/// The schema header's value for this version.
pub const SCHEMA: &str = "audit/1";

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Its id, so that an entry that is written twice stands once.
    pub id: Uuid,
    /// Whose trail it stands in.
    pub tenant_id: TenantId,
    /// When, Unix milliseconds.
    pub at: u64,
    /// What kind of event.
    pub kind: AuditKind,
    /// Which code: of the problem, of the close, of the dead letter, or what was done.
    pub code: String,
    /// Who: a token's subject; none where nobody was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Which process says so.
    pub node: String,
    /// What it is about: a notification's id, a job's, a route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How often in that second.
    pub count: u64,
    /// In words, at most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// A request, frame or connection was refused.
    Rejection,
    /// Records became dead letters.
    DeadLetter,
    /// Dead letters were put back in, or thrown away.
    Redrive,
    /// Stored notifications were dispatched again.
    Replay,
    /// Something was administered: cancelled, for one.
    Administration,
}

impl AuditKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Rejection,
        Self::DeadLetter,
        Self::Redrive,
        Self::Replay,
        Self::Administration,
    ];

    /// The name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejection => "rejection",
            Self::DeadLetter => "dead_letter",
            Self::Redrive => "redrive",
            Self::Replay => "replay",
            Self::Administration => "administration",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A page of a tenant's trail, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditPage {
    /// The entries. An empty page may still have a cursor: the scan is bounded.
    pub entries: Vec<AuditEntry>,
    /// For the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
