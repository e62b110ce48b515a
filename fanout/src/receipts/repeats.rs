//! Repeats: the latest delivery of notifications that were delivered again, for acknowledgements to come.
//!
//! In: deliveries that sessions took. Out: which delivery an acknowledgement is of.
//! Always: bounded; the oldest is forgotten for the newest; what is not known counts as the first delivery.

use std::collections::{HashMap, VecDeque};

use carillon_schemas::{NotificationId, TenantId};

use super::{Identity, Which};

type Key = (TenantId, NotificationId);

/// A memory of so many. First deliveries take no room.
#[derive(Debug)]
pub(super) struct Repeats {
    most: usize,
    known: HashMap<Key, Which>,
    order: VecDeque<Key>,
}

impl Repeats {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// A session took this delivery.
    pub(super) fn remember(&mut self, identity: &Identity) {
        if identity.which == Which::FIRST {
            return;
        }
        let key = (identity.tenant.clone(), identity.id);
        if let Some(latest) = self.known.get_mut(&key) {
            *latest = identity.which.max(*latest);
            return;
        }
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(key.clone(), identity.which);
        self.order.push_back(key);
    }

    /// The latest delivery that is known.
    pub(super) fn latest(&self, tenant: &TenantId, id: NotificationId) -> Which {
        let known = self.known.get(&(tenant.clone(), id));
        known.copied().unwrap_or(Which::FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::identity, *};

    #[test]
    fn the_latest_delivery_is_known_until_it_is_forgotten_for_a_newer_notification() {
        let mut repeats = Repeats::new(2);
        let second = Which {
            delivery: 2,
            ..Which::FIRST
        };
        let again = |n, which| Identity { which, ..identity(n) };
        let latest = |repeats: &Repeats, n| repeats.latest(&identity(n).tenant, identity(n).id);
        repeats.remember(&identity(9));
        repeats.remember(&again(1, second));
        repeats.remember(&identity(1));
        assert_eq!((latest(&repeats, 1), latest(&repeats, 9)), (second, Which::FIRST));
        repeats.remember(&again(2, second));
        repeats.remember(&again(3, second));
        assert_eq!(
            [1, 2, 3].map(|n| latest(&repeats, n)),
            [Which::FIRST, second, second]
        );
        assert_eq!((repeats.known.len(), repeats.order.len()), (2, 2));
    }
}
