//! The node: what its sessions share.
//!
//! In: configuration and dependencies. Out: the hub, once every shard's end is known.
//! Always: no session is served before that, and none is taken while the node drains.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use carillon_auth::Access;
use carillon_bus::audit::AuditLog;
use carillon_chassis::{clock::Clock, limit::RateLimit, tasks::Tasks};
use carillon_schemas::{TenantId, audit::AuditKind};
use carillon_store::NotificationStore;
use tokio::sync::watch;

use crate::{
    FanoutConfig, SessionLimits, history::History, hub::Hub, metrics::RoleMetrics, receipts::Receipts,
    sessions::Sessions,
};

/// One fanout node.
pub(crate) struct Node {
    pub(crate) config: FanoutConfig,
    pub(crate) limits: Arc<SessionLimits>,
    pub(crate) figures: Arc<RoleMetrics>,
    pub(crate) clock: Clock,
    pub(crate) access: Access,
    pub(crate) store: Arc<dyn NotificationStore>,
    pub(crate) history: History,
    pub(crate) receipts: Arc<Receipts>,
    pub(crate) audit: AuditLog,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) handshakes: RateLimit,
    pub(crate) tasks: Tasks,
    hub: OnceLock<Hub>,
    ready: watch::Sender<bool>,
    draining: AtomicBool,
}

impl Node {
    /// A node without its hub.
    pub(crate) fn new(
        config: FanoutConfig,
        figures: Arc<RoleMetrics>,
        history: History,
        (receipts, audit): (Arc<Receipts>, AuditLog),
        tasks: Tasks,
        (clock, access, store): (Clock, Access, Arc<dyn NotificationStore>),
    ) -> Self {
        Self {
            limits: Arc::new(config.session),
            sessions: Arc::new(Sessions::new(&config, Arc::clone(&figures))),
            handshakes: RateLimit::new(config.handshakes_per_second, config.handshakes_per_second),
            config,
            figures,
            clock,
            access,
            store,
            history,
            receipts,
            audit,
            tasks,
            hub: OnceLock::new(),
            ready: watch::Sender::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// The shards' ends are known: sessions may come.
    pub(crate) fn open(&self, ends: &[i64]) -> &Hub {
        let hub = self
            .hub
            .get_or_init(|| Hub::new(self.config.generation, ends, &self.limits));
        self.ready.send_replace(true);
        hub
    }

    /// The hub, once the shards' ends are known.
    pub(crate) fn hub(&self) -> Option<&Hub> {
        self.hub.get()
    }

    /// Waits for the hub; false when it did not come in time.
    pub(crate) async fn opened(&self, deadline: Duration) -> bool {
        let mut ready = self.ready.subscribe();
        let opened = ready.wait_for(|ready| *ready);
        matches!(tokio::time::timeout(deadline, opened).await, Ok(Ok(_)))
    }

    /// Something of this tenant was refused, with this code: puts it on the tenant's audit trail.
    pub(crate) fn refused(&self, tenant: &TenantId, code: &'static str) {
        self.audit.count(tenant, AuditKind::Rejection, code);
    }

    /// No further session.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the node takes no further session.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}
