//! Slots and chains: queues whose links stand in the slots themselves.
//!
//! In: values. Out: the same values, first in, first out, in as many chains as there are. Always: moving a slot
//! from one chain to another allocates nothing; a slot is in one chain at most.

use std::ops::{Index, IndexMut};

/// Where a value stands.
pub(super) type Id = u32;

const NONE: Id = Id::MAX;

/// So many slots are kept when none is used; what a flood needed beyond that is given back.
const KEPT: usize = 4_096;

/// Values that stay where they are until they are released.
pub(super) struct Slab<V> {
    slots: Vec<Slot<V>>,
    free: Chain,
    used: usize,
}

struct Slot<V> {
    next: Id,
    value: V,
}

/// Slots of one slab, in an order. Bounded by who pushes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    first: Id,
    last: Id,
}

impl<V> Slab<V> {
    pub(super) fn insert(&mut self, value: V) -> Id {
        self.used += 1;
        let mut free = self.free;
        if let Some(id) = free.pop(self) {
            self.free = free;
            self[id] = value;
            return id;
        }
        // There are fewer slots than records fit into memory, and far fewer than 2³².
        let id = self.slots.len() as Id;
        self.slots.push(Slot { next: NONE, value });
        id
    }

    /// Nothing is in the slot any more; what is in there stays until the next insert.
    pub(super) fn release(&mut self, id: Id) {
        self.used -= 1;
        if self.used == 0 && self.slots.len() > KEPT {
            *self = Self::default();
            return;
        }
        let mut free = self.free;
        free.push(self, id);
        self.free = free;
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }
}

impl Chain {
    pub(super) fn push<V>(&mut self, slab: &mut Slab<V>, id: Id) {
        slab.slots[id as usize].next = NONE;
        match self.last {
            NONE => self.first = id,
            last => slab.slots[last as usize].next = id,
        }
        self.last = id;
    }

    pub(super) fn pop<V>(&mut self, slab: &mut Slab<V>) -> Option<Id> {
        let first = self.first()?;
        self.first = slab.slots[first as usize].next;
        if self.first == NONE {
            self.last = NONE;
        }
        Some(first)
    }

    pub(super) fn first(&self) -> Option<Id> {
        (self.first != NONE).then_some(self.first)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// From the first to the last.
    pub(super) fn iter<V>(self, slab: &Slab<V>) -> impl Iterator<Item = Id> {
        std::iter::successors(self.first(), |&id| {
            let next = slab.slots[id as usize].next;
            (next != NONE).then_some(next)
        })
    }
}

impl<V> Default for Slab<V> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Chain::default(),
            used: 0,
        }
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
        }
    }
}

impl<V> Index<Id> for Slab<V> {
    type Output = V;

    fn index(&self, id: Id) -> &V {
        &self.slots[id as usize].value
    }
}

impl<V> IndexMut<Id> for Slab<V> {
    fn index_mut(&mut self, id: Id) -> &mut V {
        &mut self.slots[id as usize].value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_one_slab_keep_their_own_order_and_slots_are_used_again() {
        let mut slab = Slab::default();
        let mut chains = [Chain::default(), Chain::default()];
        for value in 0..6 {
            let id = slab.insert(value);
            chains[value % 2].push(&mut slab, id);
        }
        assert_eq!(
            chains[1].iter(&slab).map(|id| slab[id]).collect::<Vec<_>>(),
            [1, 3, 5]
        );
        let first = chains[0].pop(&mut slab).unwrap();
        assert_eq!(slab[first], 0);
        slab.release(first);
        assert_eq!((slab.insert(9), slab.used()), (first, 6));
    }

    #[test]
    fn an_empty_slab_gives_back_what_a_flood_needed() {
        let mut slab = Slab::default();
        let ids: Vec<_> = (0..KEPT as u32 + 1).map(|value| slab.insert(value)).collect();
        for id in ids {
            slab.release(id);
        }
        assert_eq!((slab.slots.len(), slab.used()), (0, 0));
        assert_eq!(slab.insert(7), 0);
    }
}
