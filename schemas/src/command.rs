//! Commands: what is to be done beside the stream of notifications, for the router that has the tenant's partition.
//!
//! In: a request that was let in. Out: one record, its key the tenant. Always: a command that is read twice has
//! no second effect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    NotificationId, TenantId,
    dead_letter::{RedriveRequest, ReplayRequest},
};

/// The schema header's value for this version.
pub const SCHEMA: &str = "command/1";

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// Its id: a job's, where it makes one.
    pub id: Uuid,
    /// The tenant; must equal the record's `carillon-tenant` header.
    pub tenant_id: TenantId,
    /// Who gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// When, Unix milliseconds.
    pub at: u64,
    /// What is to be done.
    pub order: Order,
}

/// What can be ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A scheduled notification is not to be delivered.
    Cancel {
        /// Which.
        notification_id: NotificationId,
    },
    /// Dead letters back in.
    Redrive(RedriveRequest),
    /// Dead letters away.
    Discard(RedriveRequest),
    /// Stored notifications again.
    Replay(ReplayRequest),
}
