//! Members: one consumer in a group.
//!
//! In: what a consumer says of itself when it joins. Out: what the group keeps of it. Always: who waits for an
//! answer counts as alive as long as its connection is there to take it.

use std::time::Duration;

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use super::{
    Assigned,
    group::{GroupError, Joined},
};

/// What a consumer says when it joins.
pub(crate) struct Joiner {
    /// Empty at the first time.
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) session: Duration,
    pub(crate) rebalance: Duration,
    pub(crate) protocol_type: String,
    /// Ways of sharing partitions that it knows, the one it likes best first, with its subscription in each.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// Whether it can be told its id before it is a member (KIP-394).
    pub(crate) takes_id_first: bool,
}

/// A consumer in a group.
pub(super) struct Member {
    pub(super) instance: Option<String>,
    client_id: String,
    host: String,
    session: Duration,
    pub(super) rebalance: Duration,
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    seen: Instant,
    pub(super) joining: Option<oneshot::Sender<Result<Joined, GroupError>>>,
    pub(super) syncing: Option<oneshot::Sender<Result<Assigned, GroupError>>>,
}

/// A member as administrators see it.
pub(crate) struct Description {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) metadata: Bytes,
    pub(crate) assignment: Bytes,
}

impl Member {
    pub(super) fn new(joiner: Joiner, now: Instant) -> Self {
        Self {
            instance: joiner.instance,
            client_id: joiner.client_id,
            host: joiner.host,
            session: joiner.session,
            rebalance: joiner.rebalance,
            protocols: joiner.protocols,
            assignment: Bytes::new(),
            seen: now,
            joining: None,
            syncing: None,
        }
    }

    /// Takes over what a member says when it joins again.
    pub(super) fn renew(&mut self, joiner: Joiner, now: Instant) {
        self.session = joiner.session;
        self.rebalance = joiner.rebalance;
        self.protocols = joiner.protocols;
        self.seen = now;
    }

    pub(super) fn is_seen(&mut self, now: Instant) {
        self.seen = now;
    }

    /// When the member is given up; `None` while it waits for an answer and its connection lives.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waits = self.joining.as_ref().is_some_and(|s| !s.is_closed())
            || self.syncing.as_ref().is_some_and(|s| !s.is_closed());
        (!waits).then(|| self.seen + self.session)
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let chosen = self.protocols.iter().find(|(name, _)| name == protocol);
        chosen.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub(super) fn describe(&self, id: &str, protocol: &str) -> Description {
        Description {
            id: id.to_owned(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            host: format!("/{}", self.host),
            metadata: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }
}
