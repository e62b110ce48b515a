//! This node's sessions: how many there are, of whom, and how to end them all.
//!
//! In: sessions that come and go. Out: seats, within the caps of node and tenant.
//! Always: a seat is given back however its session ends.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use carillon_schemas::{TenantId, close::CloseCode};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{FanoutConfig, metrics::RoleMetrics, session::SendQueue};

/// All sessions.
pub(crate) struct Sessions {
    most: usize,
    most_per_tenant: usize,
    next: AtomicU64,
    seats: Mutex<Seats>,
    left: Notify,
    figures: Arc<RoleMetrics>,
}

#[derive(Default)]
struct Seats {
    queues: HashMap<u64, Arc<SendQueue>>,
    tenants: HashMap<TenantId, usize>,
}

/// A cap is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The node's.
    Node,
    /// The tenant's.
    Tenant,
}

/// A session's place among them.
pub(crate) struct Seat {
    sessions: Arc<Sessions>,
    number: u64,
    tenant: Option<TenantId>,
}

impl Sessions {
    /// Within the configuration's caps.
    pub(crate) fn new(config: &FanoutConfig, figures: Arc<RoleMetrics>) -> Self {
        Self {
            most: config.sessions,
            most_per_tenant: config.sessions_per_tenant,
            next: AtomicU64::new(0),
            seats: Mutex::default(),
            left: Notify::new(),
            figures,
        }
    }

    /// A seat for a session, of a tenant where it is known already.
    pub(crate) fn seat(
        self: &Arc<Self>,
        queue: &Arc<SendQueue>,
        tenant: Option<&TenantId>,
    ) -> Result<Seat, Full> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        {
            let mut seats = self.seats.lock();
            if seats.queues.len() >= self.most {
                return Err(Full::Node);
            }
            if let Some(tenant) = tenant {
                seats.take_one_of(tenant, self.most_per_tenant)?;
            }
            seats.queues.insert(number, Arc::clone(queue));
        }
        self.figures.sessions.inc();
        self.figures.legacy_sessions.inc();
        Ok(Seat {
            sessions: Arc::clone(self),
            number,
            tenant: tenant.cloned(),
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.seats.lock().queues.len()
    }

    /// Says goodbye to all.
    pub(crate) fn close_all(&self, code: CloseCode) {
        let queues: Vec<_> = self.seats.lock().queues.values().cloned().collect();
        queues.iter().for_each(|queue| queue.close(code));
    }

    /// Waits until all have left; false when some had not in time.
    pub(crate) async fn all_left(&self, deadline: Duration) -> bool {
        let left = async {
            loop {
                let told = self.left.notified();
                if self.count() == 0 {
                    return;
                }
                told.await;
            }
        };
        tokio::time::timeout(deadline, left).await.is_ok()
    }
}

impl Seats {
    fn take_one_of(&mut self, tenant: &TenantId, most: usize) -> Result<(), Full> {
        let taken = self.tenants.entry(tenant.clone()).or_insert(0);
        if *taken >= most {
            return Err(Full::Tenant);
        }
        *taken += 1;
        Ok(())
    }
}

impl Seat {
    /// The session turns out to be this tenant's.
    pub(crate) fn name(&mut self, tenant: &TenantId) -> Result<(), Full> {
        if self.tenant.is_none() {
            let mut seats = self.sessions.seats.lock();
            seats.take_one_of(tenant, self.sessions.most_per_tenant)?;
            self.tenant = Some(tenant.clone());
        }
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        {
            let mut seats = self.sessions.seats.lock();
            seats.queues.remove(&self.number);
            if let Some(tenant) = &self.tenant
                && let Some(taken) = seats.tenants.get_mut(tenant)
            {
                *taken -= 1;
                if *taken == 0 {
                    seats.tenants.remove(tenant);
                }
            }
        }
        self.sessions.figures.sessions.dec();
        self.sessions.figures.legacy_sessions.dec();
        self.sessions.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use carillon_chassis::metrics::Metrics;

    use super::*;

    #[test]
    fn caps_hold_and_a_seat_that_is_left_is_free_again() {
        let config = FanoutConfig {
            sessions: 2,
            sessions_per_tenant: 1,
            ..FanoutConfig::default()
        };
        let figures = Arc::new(RoleMetrics::new(&Metrics::new()));
        let sessions = Arc::new(Sessions::new(&config, figures));
        let queue = Arc::new(SendQueue::new(Arc::new(config.session)));
        let acme: TenantId = "acme".parse().unwrap();
        let first = sessions.seat(&queue, Some(&acme)).unwrap();
        assert_eq!(sessions.seat(&queue, Some(&acme)).err(), Some(Full::Tenant));
        let mut second = sessions.seat(&queue, None).unwrap();
        assert_eq!(second.name(&acme), Err(Full::Tenant));
        assert_eq!(sessions.seat(&queue, None).err(), Some(Full::Node));
        drop(first);
        assert_eq!(second.name(&acme), Ok(()));
        drop(second);
        assert_eq!(sessions.count(), 0);
    }
}
