//! Limits: how much may be at work at once, in all and per tenant.
//!
//! In: a tenant that wants to submit. Out: a permit, or which bound was met.
//! Always: the permits that are held never exceed a bound; nobody waits; a tenant without work takes no room.

use std::{collections::HashMap, sync::Arc};

use carillon_chassis::metrics::IntGauge;
use carillon_schemas::TenantId;
use parking_lot::Mutex;

use crate::refusal::Busy;

/// Submits, and the bytes of their bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// How many.
    pub(crate) submits: usize,
    /// How large, together.
    pub(crate) bytes: usize,
}

impl Load {
    /// Whether one more of so many bytes fits below a bound. The first always does.
    fn has_room(self, bytes: usize, bound: Self) -> bool {
        self.submits == 0 || (self.submits < bound.submits && self.bytes + bytes <= bound.bytes)
    }

    fn add(&mut self, bytes: usize) {
        self.submits += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.submits -= 1;
        self.bytes -= bytes;
    }
}

/// The bounds, and who holds what.
pub(crate) struct Limits {
    all: Load,
    each: Load,
    held: Mutex<Held>,
    gauge: IntGauge,
}

#[derive(Default)]
struct Held {
    all: Load,
    tenants: HashMap<TenantId, Load>,
}

/// Leave to have one submit at work; given back when dropped.
pub(crate) struct Permit {
    limits: Arc<Limits>,
    tenant: TenantId,
    bytes: usize,
}

impl Limits {
    /// So much at once, of which one tenant may hold so much.
    pub(crate) fn new(all: Load, each: Load, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self {
            all,
            each,
            held: Mutex::default(),
            gauge,
        })
    }

    /// One more submit of this tenant, with a body of so many bytes.
    ///
    /// # Errors
    /// Which bound is met.
    pub(crate) fn take(self: &Arc<Self>, tenant: &TenantId, bytes: usize) -> Result<Permit, Busy> {
        let mut held = self.held.lock();
        if !held.all.has_room(bytes, self.all) {
            return Err(Busy::Process);
        }
        match held.tenants.get_mut(tenant) {
            Some(load) if !load.has_room(bytes, self.each) => return Err(Busy::Tenant),
            Some(load) => load.add(bytes),
            None => {
                held.tenants.insert(tenant.clone(), Load { submits: 1, bytes });
            }
        }
        held.all.add(bytes);
        drop(held);
        self.gauge.inc();
        Ok(Permit {
            limits: Arc::clone(self),
            tenant: tenant.clone(),
            bytes,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.limits.held.lock();
        held.all.remove(self.bytes);
        if let Some(load) = held.tenants.get_mut(&self.tenant) {
            load.remove(self.bytes);
            if load.submits == 0 {
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
        let load = |submits| Load {
            submits,
            bytes: submits * 100,
        };
        Limits::new(load(all), load(each), Metrics::new().gauge("held", "held"))
    }

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[test]
    fn one_tenant_at_its_share_leaves_room_for_the_others() {
        let limits = limits(4, 1);
        let permit = limits.take(&tenant("a"), 10).unwrap();
        assert_eq!(limits.take(&tenant("a"), 10).err(), Some(Busy::Tenant));
        assert!(limits.take(&tenant("b"), 10).is_ok());
        drop(permit);
        assert!(limits.take(&tenant("a"), 10).is_ok());
    }

    #[test]
    fn large_bodies_meet_the_bound_on_bytes_first_and_one_always_fits() {
        let limits = limits(100, 2);
        let one = limits.take(&tenant("a"), 1_000).unwrap();
        assert_eq!(limits.take(&tenant("a"), 1).err(), Some(Busy::Tenant));
        drop(one);
        let _one = limits.take(&tenant("a"), 150).unwrap();
        assert_eq!(limits.take(&tenant("a"), 51).err(), Some(Busy::Tenant));
        assert!(limits.take(&tenant("a"), 50).is_ok());
        assert_eq!(limits.take(&tenant("b"), 9_851).err(), Some(Busy::Process));
    }

    #[test]
    fn a_full_process_refuses_everybody_until_a_permit_comes_back() {
        let limits = limits(2, 2);
        let first = limits.take(&tenant("a"), 10).unwrap();
        let _second = limits.take(&tenant("b"), 10).unwrap();
        assert_eq!(limits.take(&tenant("c"), 10).err(), Some(Busy::Process));
        drop(first);
        assert!(limits.take(&tenant("c"), 10).is_ok());
    }

    #[test]
    fn a_tenant_without_work_takes_no_room() {
        let limits = limits(2, 2);
        let take = || limits.take(&tenant("a"), 10).unwrap();
        let permits = [take(), take()];
        assert_eq!(limits.gauge.get(), 2);
        drop(permits);
        assert!(limits.held.lock().tenants.is_empty());
        assert_eq!((limits.held.lock().all, limits.gauge.get()), (Load::default(), 0));
    }
}
