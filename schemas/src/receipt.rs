//! Receipts: fanout → router, what sockets took and what clients acknowledged.
//!
//! In: what one node saw of one tenant since its last record. Out: one record, its key the tenant.
//! Always: a figure is what the node has counted so far and not what was added, so that a record that is read
//! twice, or after a later one, changes nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{NotificationId, TenantId};

/// The schema header's value for this version.
pub const SCHEMA: &str = "receipts/1";

/// Most entries of one record.
pub const ENTRIES: usize = 500;

/// What one node saw of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipts {
    /// The tenant; must equal the record's `carillon-tenant` header.
    pub tenant_id: TenantId,
    /// Which node says so.
    pub node: String,
    /// What it saw.
    pub entries: Vec<Receipt>,
}

/// What happened to one delivery of one notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// The notification.
    pub notification_id: NotificationId,
    /// Which deliberate repeat, from 1.
    pub delivery: u32,
    /// In which attempt it was dispatched, from 1.
    pub attempt: u8,
    /// In which redrive, from 0.
    #[serde(default, skip_serializing_if = "is_none")]
    pub redrive: u8,
    /// When, Unix milliseconds: the first time, of what happened more often than once.
    pub at: u64,
    /// What.
    pub seen: Seen,
}

fn is_none(redrive: &u8) -> bool {
    *redrive == 0
}

/// What a node can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// So many sockets of this node have taken its bytes.
    Delivered {
        /// How many, at least one.
        sessions: u32,
    },
    /// A client has acknowledged it.
    Acknowledged,
    /// Its time to live had ended when it came: it was not delivered here.
    Expired,
}
