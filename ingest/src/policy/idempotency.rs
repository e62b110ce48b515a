//! Idempotency: the same key and the same body are the same notification.
//!
//! In: a tenant's key with the hash of its body. Out: publish, publish again, or nothing to do.
//! Always: a key is claimed before its notification is published, so that no crash in between makes two; what
//! nobody can say was published is published again under the same id, and the router drops it if it was.

use std::{collections::HashMap, mem};

use carillon_schemas::{CorrelationId, IdempotencyKey, NotificationId, TenantId};
use carillon_store::{Claim, ClaimOutcome};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{refusal::Refusal, store::Store};

/// What becomes of a keyed submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keyed {
    /// The key was free: publish.
    First,
    /// The key is of this notification, and nobody knows whether it was published: publish it again.
    Again {
        /// Its id.
        id: NotificationId,
        /// When the key was claimed, Unix milliseconds.
        at_ms: u64,
    },
    /// The key is of this notification, and it was published.
    Published {
        /// Its id.
        id: NotificationId,
        /// The correlation id that it was published with.
        correlation: CorrelationId,
    },
}

/// The keys: the store's claims, and what this process knows to be published.
pub(crate) struct Keys {
    store: Store,
    published: Mutex<Remembered>,
}

impl Keys {
    /// With room for so many that are known to be published.
    pub(crate) fn new(store: Store, remembered: usize) -> Self {
        Self {
            store,
            published: Mutex::new(Remembered::new(remembered)),
        }
    }

    /// Claims a key, or finds out what became of its notification.
    ///
    /// # Errors
    /// [`Refusal::KeyReused`] for another body, [`Refusal::Unavailable`] when the store does not answer in time.
    pub(crate) async fn claim(
        &self,
        tenant: &TenantId,
        key: &IdempotencyKey,
        claim: &Claim,
        until: Instant,
    ) -> Result<Keyed, Refusal> {
        let earlier = match self.store.claim(tenant, key, claim, until).await? {
            ClaimOutcome::New => return Ok(Keyed::First),
            ClaimOutcome::Existing(earlier) => earlier,
        };
        if earlier.body_hash != claim.body_hash {
            return Err(Refusal::KeyReused);
        }
        let id = earlier.id;
        let remembered = self.published.lock().get(&id);
        if let Some(correlation) = remembered {
            return Ok(Keyed::Published { id, correlation });
        }
        let known = self.store.notification(tenant, id, until).await?;
        Ok(match known {
            Some(known) => Keyed::Published {
                id,
                correlation: known.envelope.correlation_id,
            },
            None => Keyed::Again {
                id,
                at_ms: earlier.at_ms,
            },
        })
    }

    /// Kafka has acknowledged a keyed notification.
    pub(crate) fn remember(&self, id: NotificationId, correlation: CorrelationId) {
        self.published.lock().put(id, correlation);
    }
}

/// The latest notifications with a key that Kafka acknowledged. In two halves: when the younger is full, the
/// elder is forgotten.
struct Remembered {
    half: usize,
    young: HashMap<NotificationId, CorrelationId>,
    old: HashMap<NotificationId, CorrelationId>,
}

impl Remembered {
    fn new(capacity: usize) -> Self {
        Self {
            half: capacity.div_ceil(2),
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    fn get(&self, id: &NotificationId) -> Option<CorrelationId> {
        self.young.get(id).or_else(|| self.old.get(id)).cloned()
    }

    fn put(&mut self, id: NotificationId, correlation: CorrelationId) {
        if self.young.len() >= self.half {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(id, correlation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> NotificationId {
        NotificationId::from_bytes([n; 16])
    }

    #[test]
    fn the_latest_are_remembered_and_the_memory_has_a_bound() {
        let mut remembered = Remembered::new(4);
        for n in 0..100 {
            remembered.put(id(n), "c".parse().unwrap());
            assert!(remembered.young.len() + remembered.old.len() <= 4);
            assert!(remembered.get(&id(n)).is_some());
        }
        assert!(remembered.get(&id(98)).is_some(), "the one before the last");
        assert!(remembered.get(&id(0)).is_none());
    }
}
