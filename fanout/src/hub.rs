//! The hub: this node's listeners, by shard, tenant and stream.
//!
//! In: records of the deliveries topic, subscriptions of sessions. Out: frames in send queues.
//! Always: it waits for nobody; a tenant's frames reach that tenant's sessions only; one lock per shard.

mod newest;
mod pending;
mod shard;
mod slots;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use carillon_schemas::{
    CollapseKey, NotificationId, Stream, TenantId, cursor::Cursor, shard::shard as shard_of,
};
use parking_lot::Mutex;

pub(crate) use self::newest::Age;
pub(crate) use self::shard::{Begin, Delivered, Join, Place, skip};
use crate::{
    SessionLimits,
    hub::shard::Shard,
    receipts::{Identity, Which},
    session::SendQueue,
};

/// All shards of the deliveries topic.
pub(crate) struct Hub {
    generation: u16,
    shards: Vec<Mutex<Shard>>,
    tickets: AtomicU64,
}

/// A delivery for whoever listens.
#[derive(Clone, Copy)]
pub(crate) struct Notice<'a> {
    /// To whom.
    pub(crate) of: Of<'a>,
    /// The notification.
    pub(crate) id: NotificationId,
    /// Which delivery of it.
    pub(crate) which: Which,
    /// Its bytes.
    pub(crate) delivery: &'a [u8],
    /// When its record was written, Unix milliseconds; 0 when unknown.
    pub(crate) written_ms: i64,
}

impl Notice<'_> {
    /// Which delivery of which notification.
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            tenant: self.of.tenant.clone(),
            id: self.id,
            which: self.which,
        }
    }
}

/// A listener's address: tenant and stream decide the shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a> {
    /// Whose.
    pub(crate) tenant: &'a TenantId,
    /// Which.
    pub(crate) stream: &'a Stream,
}

impl Hub {
    /// A hub whose shard `n` stands before the record at `ends[n]`.
    pub(crate) fn new(generation: u16, ends: &[i64], limits: &Arc<SessionLimits>) -> Self {
        let shards = ends.iter().zip(0u16..);
        let shards = shards.map(|(end, n)| Mutex::new(Shard::new(generation, n, *end, Arc::clone(limits))));
        Self {
            generation,
            shards: shards.collect(),
            tickets: AtomicU64::new(1),
        }
    }

    /// The topic generation that cursors carry.
    pub(crate) fn generation(&self) -> u16 {
        self.generation
    }

    /// The shard of a stream. One bucket per tenant for now.
    pub(crate) fn shard_of(&self, of: Of<'_>) -> u16 {
        shard_of(of.tenant, of.stream, self.shards.len() as u16, 1)
    }

    /// The offset of a shard's next record.
    pub(crate) fn next(&self, shard: u16) -> i64 {
        self.at(shard).map_or(0, |s| s.lock().next())
    }

    /// Where every shard goes on: (shard, offset).
    pub(crate) fn positions(&self) -> Vec<(i32, i64)> {
        let shards = self.shards.iter().zip(0..);
        shards.map(|(s, n)| (n, s.lock().next())).collect()
    }

    /// A ticket that no other catch-up has.
    pub(crate) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// The cursor of an offset of a stream.
    pub(crate) fn cursor(&self, of: Of<'_>, offset: i64) -> Cursor {
        Cursor {
            generation: self.generation,
            shard: self.shard_of(of),
            offset,
        }
    }

    /// Adds a listener, or begins the one at `slot` anew.
    pub(crate) fn subscribe(
        &self,
        of: Of<'_>,
        queue: &Arc<SendQueue>,
        slot: Option<u32>,
        begin: &Begin<'_>,
    ) -> Place {
        let shard = &self.shards[usize::from(self.shard_of(of))];
        shard.lock().subscribe(of.tenant, of.stream, queue, slot, begin)
    }

    /// Ends a listener.
    pub(crate) fn unsubscribe(&self, of: Of<'_>, slot: u32) {
        if let Some(shard) = self.at(self.shard_of(of)) {
            shard.lock().unsubscribe(of.tenant, of.stream, slot);
        }
    }

    /// Whether the listener is still catching up with this ticket.
    pub(crate) fn catches_up(&self, of: Of<'_>, slot: u32, ticket: u64) -> bool {
        let shard = self.at(self.shard_of(of));
        shard.is_some_and(|s| s.lock().catches_up(of.tenant, of.stream, slot, ticket))
    }

    /// A catch-up whose session has everything up to `last` wants to go live.
    pub(crate) fn join(&self, of: Of<'_>, slot: u32, ticket: u64, last: i64) -> Join {
        match self.at(self.shard_of(of)) {
            Some(shard) => shard.lock().join(of.tenant, of.stream, slot, ticket, last),
            None => Join::Gone,
        }
    }

    /// Whether somebody of this tenant listens on the shard.
    pub(crate) fn listens(&self, shard: u16, tenant: &TenantId) -> bool {
        self.at(shard).is_some_and(|s| s.lock().listens(tenant))
    }

    /// A record that is nobody's: the shard has come past it.
    pub(crate) fn pass(&self, shard: u16, offset: i64) {
        if let Some(shard) = self.at(shard) {
            shard.lock().pass(offset);
        }
    }

    /// A notification for whoever listens.
    pub(crate) fn deliver(
        &self,
        shard: u16,
        offset: i64,
        notice: &Notice<'_>,
        wakers: &mut Vec<Waker>,
    ) -> Delivered {
        let shard = self.at(shard);
        shard.map_or_else(Delivered::default, |s| s.lock().deliver(offset, notice, wakers))
    }

    /// Whether a newer one of this key came before one of this age. What is asked about counts as come.
    pub(crate) fn is_superseded(&self, shard: u16, of: Of<'_>, key: &CollapseKey, age: Age) -> bool {
        let key = (of.tenant.clone(), of.stream.clone(), key.clone());
        self.at(shard).is_some_and(|s| s.lock().is_superseded(key, age))
    }

    /// A notification that came after its time to live, or behind a newer one of its key: whether somebody listens
    /// who does not get it.
    pub(crate) fn leave_out(&self, shard: u16, offset: i64, of: Of<'_>) -> bool {
        self.at(shard).is_some_and(|s| s.lock().leave_out(offset, of))
    }

    fn at(&self, shard: u16) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::from(shard))
    }
}
