//! Producers: which batches of idempotent producers a partition already has.
//!
//! In: a batch's producer id, epoch and sequence. Out: append it, or where it already stands, or a refusal.
//! Always: the last five batches of each producer are known (that many may be in flight, KIP-98), and the
//! number of producers is bounded.

use std::collections::{HashMap, VecDeque};

use super::batch::Header;

/// Batches remembered per producer: librdkafka and the Java client keep at most five in flight.
const REMEMBERED: usize = 5;

/// All idempotent producers that wrote to a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    known: HashMap<i64, Producer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) epoch: i16,
    /// Base offset of its newest batch: the order in which producers are forgotten.
    pub(super) batches: VecDeque<Sent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) first: i32,
    pub(super) last: i32,
    pub(super) base_offset: i64,
}

/// What is to happen with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// It is next: append it.
    Next,
    /// It is here already, from this offset.
    Duplicate(i64),
    /// One before it is missing.
    OutOfOrder,
    /// A newer incarnation of the producer has written.
    OldEpoch,
}

impl Producers {
    /// Judges a batch without changing anything.
    pub(crate) fn judge(&self, header: &Header) -> Sequence {
        if header.producer_id < 0 {
            return Sequence::Next;
        }
        // A producer that was forgotten, or that is new here, starts where it says.
        let Some(producer) = self.known.get(&header.producer_id) else {
            return Sequence::Next;
        };
        if header.producer_epoch < producer.epoch {
            return Sequence::OldEpoch;
        }
        if header.producer_epoch > producer.epoch {
            return if header.base_sequence == 0 {
                Sequence::Next
            } else {
                Sequence::OutOfOrder
            };
        }
        let (first, last) = (header.base_sequence, last_sequence(header));
        if let Some(sent) = producer
            .batches
            .iter()
            .find(|b| b.first == first && b.last == last)
        {
            return Sequence::Duplicate(sent.base_offset);
        }
        match producer.batches.back() {
            Some(newest) if first != after(newest.last, 1) => Sequence::OutOfOrder,
            _ => Sequence::Next,
        }
    }

    /// Takes note of a batch that was appended.
    pub(crate) fn note(&mut self, header: &Header, limit: usize) {
        if header.producer_id < 0 {
            return;
        }
        let producer = self.known.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            batches: VecDeque::new(),
        });
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Sent {
            first: header.base_sequence,
            last: last_sequence(header),
            base_offset: header.base_offset,
        });
        if self.known.len() > limit {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let newest = |p: &Producer| p.batches.back().map_or(-1, |b| b.base_offset);
        let oldest = self
            .known
            .iter()
            .min_by_key(|(_, p)| newest(p))
            .map(|(id, _)| *id);
        if let Some(id) = oldest {
            self.known.remove(&id);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.known.iter().map(|(id, producer)| (*id, producer))
    }

    pub(super) fn insert(&mut self, id: i64, producer: Producer) {
        self.known.insert(id, producer);
    }
}

fn last_sequence(header: &Header) -> i32 {
    after(header.base_sequence, header.last_offset_delta)
}

/// Sequences go from 0 to `i32::MAX` and start again at 0.
fn after(sequence: i32, by: i32) -> i32 {
    sequence.wrapping_add(by) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::{super::batch::tests::batch, *};

    fn header(id: i64, epoch: i16, sequence: i32, records: i32, base_offset: i64) -> Header {
        let bytes = batch((id, epoch, sequence), 0, records, b"v");
        Header {
            base_offset,
            ..Header::check(&bytes).unwrap()
        }
    }

    #[test]
    fn the_last_five_batches_are_recognised_and_a_gap_is_refused() {
        let mut producers = Producers::default();
        for i in 0..6 {
            let next = header(1, 0, i * 2, 2, i64::from(i) * 2);
            assert_eq!(producers.judge(&next), Sequence::Next);
            producers.note(&next, 10);
        }
        for i in 1..6 {
            assert_eq!(
                producers.judge(&header(1, 0, i * 2, 2, 0)),
                Sequence::Duplicate(i64::from(i) * 2)
            );
        }
        assert_eq!(producers.judge(&header(1, 0, 0, 2, 0)), Sequence::OutOfOrder);
        assert_eq!(producers.judge(&header(1, 0, 14, 2, 0)), Sequence::OutOfOrder);
        assert_eq!(producers.judge(&header(1, 0, 10, 1, 0)), Sequence::OutOfOrder);
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
        let mut producers = Producers::default();
        producers.note(&header(1, 3, 0, 5, 0), 10);
        assert_eq!(producers.judge(&header(1, 4, 7, 1, 0)), Sequence::OutOfOrder);
        let first = header(1, 4, 0, 1, 5);
        assert_eq!(producers.judge(&first), Sequence::Next);
        producers.note(&first, 10);
        assert_eq!(producers.judge(&header(1, 3, 5, 1, 0)), Sequence::OldEpoch);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut producers = Producers::default();
        producers.note(&header(1, 0, i32::MAX - 1, 2, 0), 10);
        assert_eq!(producers.judge(&header(1, 0, 0, 1, 0)), Sequence::Next);
    }

    #[test]
    fn the_producer_silent_for_longest_is_forgotten_first() {
        let mut producers = Producers::default();
        for id in 0..4 {
            producers.note(&header(id, 0, 0, 1, id), 3);
        }
        assert_eq!(producers.len(), 3);
        assert!(producers.iter().all(|(id, _)| id != 0));
    }
}
