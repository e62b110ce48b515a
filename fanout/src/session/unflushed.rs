//! What was handed to the WebSocket library and is not known to be in the connection yet.
//!
//! In: messages in the order in which they are written. Out: tallies of those that the connection has taken.
//! Always: never too early; bounded by what the library's write buffer holds, even if it is never empty.

use std::{collections::VecDeque, sync::Arc};

use super::send_queue::{Item, Kind};
use crate::receipts::Tally;

/// What has been written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Frames of any kind.
    pub(crate) frames: u64,
    /// Notifications among them.
    pub(crate) notifications: u64,
}

/// Frames between the send queue and the connection.
#[derive(Debug, Default)]
pub(super) struct Unflushed {
    written: Written,
    /// Bytes of payload that were handed over so far.
    handed: u64,
    /// Notifications, each with the count of bytes up to its end.
    tallies: VecDeque<(u64, Arc<Tally>)>,
}

impl Unflushed {
    /// A message is handed over.
    pub(super) fn push(&mut self, item: &mut Item) {
        self.written.frames += 1;
        self.written.notifications += u64::from(matches!(item.kind, Kind::Notification(_)));
        self.handed += item.text.len() as u64;
        if let Some(tally) = item.tally.take() {
            self.tallies.push_back((self.handed, tally));
        }
    }

    /// The next one that has left a buffer of this size, because as much was handed over behind it.
    pub(super) fn displaced(&mut self, buffer: usize) -> Option<Arc<Tally>> {
        let handed = self.handed;
        let gone = |(end, _): &mut (u64, Arc<Tally>)| *end + buffer as u64 <= handed;
        self.tallies.pop_front_if(gone).map(|(_, tally)| tally)
    }

    /// All of it is in the connection.
    pub(super) fn flushed(&mut self, mut took: impl FnMut(&Arc<Tally>)) -> Written {
        // An idle session keeps no buffer.
        let tallies = std::mem::take(&mut self.tallies);
        tallies.iter().for_each(|(_, tally)| took(tally));
        std::mem::take(&mut self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipts::tests::any_tally;

    fn notification(bytes: usize) -> Item {
        Item::notification("x".repeat(bytes).into(), 0, any_tally())
    }

    #[test]
    fn a_frame_counts_when_all_is_flushed_or_a_whole_buffer_was_handed_over_behind_it() {
        let mut unflushed = Unflushed::default();
        for bytes in [10, 20, 30] {
            unflushed.push(&mut notification(bytes));
        }
        unflushed.push(&mut Item::skip("s".into()));
        assert!(unflushed.displaced(52).is_none());
        assert!(unflushed.displaced(51).is_some());
        assert!(unflushed.displaced(51).is_none());
        let mut took = 0;
        let written = unflushed.flushed(|_| took += 1);
        assert_eq!((written.frames, written.notifications, took), (4, 3, 2));
        assert_eq!(unflushed.flushed(|_| took += 1), Written::default());
    }

    #[test]
    fn a_connection_that_is_never_flushed_whole_leaves_no_more_than_a_buffer_full() {
        let mut unflushed = Unflushed::default();
        for _ in 0..10_000 {
            unflushed.push(&mut notification(100));
            while unflushed.displaced(1_000).is_some() {}
        }
        assert_eq!(unflushed.tallies.len(), 10);
    }
}
