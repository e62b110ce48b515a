//! Limits: how much may be at work at once, in all and per tenant.
//!
//! In: a tenant that wants to submit. Out: a permit, or which bound was met.
//! Always: the permits that are held never exceed a bound; nobody waits; a tenant without work takes no room.

use std::{collections::HashMap, sync::Arc};

use carillon_chassis::metrics::IntGauge;
use carillon_schemas::TenantId;
use parking_lot::Mutex;

use crate::refusal::Busy;

/// The bounds, and who holds what.
pub(crate) struct Limits {
    all: usize,
    each: usize,
    held: Mutex<Held>,
    gauge: IntGauge,
}

#[derive(Default)]
struct Held {
    all: usize,
    tenants: HashMap<TenantId, usize>,
}

/// Leave to have one submit at work; given back when dropped.
pub(crate) struct Permit {
    limits: Arc<Limits>,
    tenant: TenantId,
}

impl Limits {
    /// So many at once, of which one tenant may hold so many.
    pub(crate) fn new(all: usize, each: usize, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self {
            all,
            each,
            held: Mutex::default(),
            gauge,
        })
    }

    /// One more submit of this tenant.
    ///
    /// # Errors
    /// Which bound is met.
    pub(crate) fn take(self: &Arc<Self>, tenant: &TenantId) -> Result<Permit, Busy> {
        let mut held = self.held.lock();
        if held.all >= self.all {
            return Err(Busy::Process);
        }
        match held.tenants.get_mut(tenant) {
            Some(count) if *count >= self.each => return Err(Busy::Tenant),
            Some(count) => *count += 1,
            None => {
                held.tenants.insert(tenant.clone(), 1);
            }
        }
        held.all += 1;
        drop(held);
        self.gauge.inc();
        Ok(Permit {
            limits: Arc::clone(self),
            tenant: tenant.clone(),
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.limits.held.lock();
        held.all -= 1;
        if let Some(count) = held.tenants.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                held.tenants.remove(&self.tenant);
            }
        }
        drop(held);
        self.limits.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use carillon_chassis::metrics::Metrics;

    use super::*;

    fn limits(all: usize, each: usize) -> Arc<Limits> {
        Limits::new(all, each, Metrics::new().gauge("held", "held"))
    }

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[test]
    fn one_tenant_at_its_share_leaves_room_for_the_others() {
        let limits = limits(4, 1);
        let permit = limits.take(&tenant("a")).unwrap();
        assert_eq!(limits.take(&tenant("a")).err(), Some(Busy::Tenant));
        assert!(limits.take(&tenant("b")).is_ok());
        drop(permit);
        assert!(limits.take(&tenant("a")).is_ok());
    }

    #[test]
    fn a_full_process_refuses_everybody_until_a_permit_comes_back() {
        let limits = limits(2, 2);
        let first = limits.take(&tenant("a")).unwrap();
        let _second = limits.take(&tenant("b")).unwrap();
        assert_eq!(limits.take(&tenant("c")).err(), Some(Busy::Process));
        drop(first);
        assert!(limits.take(&tenant("c")).is_ok());
    }

    #[test]
    fn a_tenant_without_work_takes_no_room() {
        let limits = limits(2, 2);
        let permits = [
            limits.take(&tenant("a")).unwrap(),
            limits.take(&tenant("a")).unwrap(),
        ];
        assert_eq!(limits.gauge.get(), 2);
        drop(permits);
        assert!(limits.held.lock().tenants.is_empty());
        assert_eq!((limits.held.lock().all, limits.gauge.get()), (0, 0));
    }
}
