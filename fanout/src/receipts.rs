//! Receipts: what sockets took and what clients acknowledged, on its way to the router.
//!
//! In: tallies of sessions after their flush, acknowledgements, deliveries whose time to live had ended.
//! Out: records of the receipts topic, through the collector. Always: telling waits for nobody; a receipt may
//! come late or, when the room for them is full, with a count that is too small; never too early.

mod book;
mod collector;
mod repeats;
mod which;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use carillon_chassis::clock::Clock;
use carillon_schemas::{NotificationId, TenantId};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use self::{collector::Collector, which::Which};
use crate::metrics::RoleMetrics;

/// Which delivery of which notification.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// The notification.
    pub(crate) id: NotificationId,
    /// Its delivery, attempt and redrive.
    pub(crate) which: Which,
}

/// How many sessions took one delivery since the collector looked; shared by every session that gets it.
#[derive(Debug)]
pub(crate) struct Tally {
    identity: Identity,
    fresh: AtomicU32,
}

impl Tally {
    /// Nobody took it yet.
    pub(crate) fn new(identity: Identity) -> Arc<Self> {
        let fresh = AtomicU32::new(0);
        Arc::new(Self { identity, fresh })
    }

    /// The notification.
    pub(crate) fn id(&self) -> NotificationId {
        self.identity.id
    }
}

/// Something that the router is to know.
#[derive(Debug)]
enum Told {
    /// Sessions took it: how many, the tally says.
    Taken(Arc<Tally>),
    /// A client acknowledged it.
    Acknowledged(TenantId, NotificationId),
    /// Its time to live had ended when it came.
    Expired(Identity),
}

impl Told {
    /// The label of what is lost with it.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Taken(_) => DELIVERED,
            Self::Acknowledged(..) => ACKNOWLEDGED,
            Self::Expired(_) => EXPIRED,
        }
    }
}

const DELIVERED: &str = "delivered";
const ACKNOWLEDGED: &str = "acknowledged";
const EXPIRED: &str = "expired";

/// There is no room for an acknowledgement: say it again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// What the collector has not taken over yet. Bounded: what comes when it is full is lost and counted.
#[derive(Default)]
struct Inbox {
    /// With its time.
    told: Vec<(Told, u64)>,
    /// Acknowledgements among it.
    acks: usize,
    acks_of: HashMap<TenantId, usize>,
}

impl Inbox {
    /// Acknowledgements come as fast as clients like: they take half of the room at most, those of one tenant an
    /// eighth.
    fn has_room(&mut self, told: &Told, most: usize) -> bool {
        if self.told.len() >= most {
            return false;
        }
        let Told::Acknowledged(tenant, _) = told else {
            return true;
        };
        let of_tenant = self.acks_of.entry(tenant.clone()).or_default();
        let has_room = self.acks < (most / 2).max(1) && *of_tenant < (most / 8).max(1);
        *of_tenant += usize::from(has_room);
        self.acks += usize::from(has_room);
        has_room
    }
}

/// Where sessions tell what happened.
pub(crate) struct Receipts {
    inbox: Mutex<Inbox>,
    most: usize,
    /// Told when something comes into the empty inbox.
    some: Notify,
    /// Whether the collector had no room for an acknowledgement when it last looked.
    congested: AtomicBool,
    clock: Clock,
    figures: Arc<RoleMetrics>,
}

impl Receipts {
    /// Room for so many facts between two looks of the collector.
    pub(crate) fn new(most: usize, clock: Clock, figures: Arc<RoleMetrics>) -> Self {
        Self {
            inbox: Mutex::default(),
            most,
            some: Notify::new(),
            congested: AtomicBool::new(false),
            clock,
            figures,
        }
    }

    /// A session's socket has taken the bytes of this delivery.
    pub(crate) fn took(&self, tally: &Arc<Tally>) {
        // Whoever counts the first one puts the tally in; the collector takes it out before it counts.
        if tally.fresh.fetch_add(1, Ordering::AcqRel) == 0 && !self.put(Told::Taken(Arc::clone(tally))) {
            let lost = tally.fresh.swap(0, Ordering::AcqRel);
            self.lose(DELIVERED, lost);
        }
    }

    /// A client of this tenant has acknowledged a notification.
    ///
    /// # Errors
    /// [`NoRoom`], and nothing is kept.
    pub(crate) fn acknowledge(&self, tenant: &TenantId, id: NotificationId) -> Result<(), NoRoom> {
        let congested = self.congested.load(Ordering::Relaxed);
        if congested || !self.put(Told::Acknowledged(tenant.clone(), id)) {
            self.lose(ACKNOWLEDGED, 1);
            return Err(NoRoom);
        }
        Ok(())
    }

    /// A delivery came for somebody here after its time to live.
    pub(crate) fn expired(&self, identity: Identity) {
        if !self.put(Told::Expired(identity)) {
            self.lose(EXPIRED, 1);
        }
    }

    fn put(&self, told: Told) -> bool {
        let at = self.clock.unix_ms();
        let mut inbox = self.inbox.lock();
        if !inbox.has_room(&told, self.most) {
            return false;
        }
        inbox.told.push((told, at));
        let first = inbox.told.len() == 1;
        drop(inbox);
        if first {
            self.some.notify_one();
        }
        true
    }

    fn lose(&self, what: &str, how_many: u32) {
        let lost = self.figures.receipts_lost.with_label_values(&[what]);
        lost.inc_by(u64::from(how_many));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use carillon_chassis::metrics::Metrics;

    use super::*;

    /// A tally of a delivery that no test looks at.
    pub(crate) fn any_tally() -> Arc<Tally> {
        Tally::new(identity(1))
    }

    pub(crate) fn identity(n: u8) -> Identity {
        Identity {
            tenant: "acme".parse().unwrap(),
            id: NotificationId::from_bytes([n; 16]),
            which: Which::FIRST,
        }
    }

    fn lost(metrics: &Metrics, what: &str) -> String {
        let line = format!("carillon_fanout_receipts_lost_total{{seen=\"{what}\"}} ");
        let text = metrics.render();
        let value = text.lines().find_map(|l| l.strip_prefix(&line));
        value.unwrap_or("0").to_owned()
    }

    #[test]
    fn a_tally_is_put_in_once_however_many_sessions_take_it() {
        let receipts = Receipts::new(10, Clock::manual(7), Arc::new(RoleMetrics::new(&Metrics::new())));
        let tally = any_tally();
        (0..5).for_each(|_| receipts.took(&tally));
        let inbox = std::mem::take(&mut *receipts.inbox.lock()).told;
        assert_eq!((inbox.len(), inbox[0].1), (1, 7));
        assert_eq!(tally.fresh.swap(0, Ordering::AcqRel), 5);
        receipts.took(&tally);
        assert_eq!(receipts.inbox.lock().told.len(), 1);
    }

    #[test]
    fn a_tenant_that_acknowledges_without_end_leaves_room_for_others_and_for_counts() {
        let receipts = Receipts::new(64, Clock::manual(7), Arc::new(RoleMetrics::new(&Metrics::new())));
        let taken = |tenant: &str| {
            let tenant: TenantId = tenant.parse().unwrap();
            let acks = (0..99).map(|n| receipts.acknowledge(&tenant, NotificationId::from_bytes([n; 16])));
            acks.filter(Result::is_ok).count()
        };
        assert_eq!(["a", "b", "c", "d", "e"].map(taken), [8, 8, 8, 8, 0]);
        (0..32).for_each(|_| receipts.took(&any_tally()));
        assert_eq!(receipts.inbox.lock().told.len(), 64);
    }

    #[test]
    fn what_finds_no_room_is_lost_counted_and_for_an_acknowledgement_told() {
        let metrics = Metrics::new();
        let receipts = Receipts::new(1, Clock::manual(7), Arc::new(RoleMetrics::new(&metrics)));
        let (first, second) = (any_tally(), any_tally());
        receipts.took(&first);
        (0..3).for_each(|_| receipts.took(&second));
        receipts.expired(identity(3));
        let identity = identity(2);
        assert_eq!(receipts.acknowledge(&identity.tenant, identity.id), Err(NoRoom));
        assert_eq!(
            [DELIVERED, ACKNOWLEDGED, EXPIRED].map(|what| lost(&metrics, what)),
            ["3", "1", "1"]
        );
        assert_eq!(receipts.inbox.lock().told.len(), 1);
    }
}
