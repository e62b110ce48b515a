//! How far a catch-up has come, without I/O.
//!
//! In: history's records and the hub's answers. Out: what to read next and each frame's `prev`.
//! Always: every record of the stream is handed out once, in order; `prev` is what the client has last.

/// A catch-up's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// What the client has last of the stream.
    last: i64,
    /// Next offset to read from the topic.
    position: i64,
    /// Offset before which history ends.
    until: i64,
}

impl Progress {
    /// A client that has everything up to `last`; what is at `until` and above comes live.
    pub(crate) fn new(last: i64, until: i64) -> Self {
        Self {
            last,
            position: last.saturating_add(1),
            until,
        }
    }

    /// What the client has last.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// The range to read; none when history is through.
    pub(crate) fn range(&self) -> Option<(i64, i64)> {
        (self.position < self.until).then_some((self.position, self.until))
    }

    /// A record of the stream in history: its `prev`, or none when it is not for now.
    pub(crate) fn record(&mut self, offset: i64) -> Option<i64> {
        if offset < self.position || offset >= self.until || offset <= self.last {
            return None;
        }
        Some(std::mem::replace(&mut self.last, offset))
    }

    /// The client took everything below this offset.
    pub(crate) fn read_up_to(&mut self, next: i64) {
        self.position = self.position.max(next.min(self.until));
    }

    /// Nothing below this offset can be read any more: whether that leaves something out.
    pub(crate) fn begins_at(&mut self, earliest: i64) -> bool {
        let lost = earliest > self.position;
        self.position = self.position.max(earliest);
        lost
    }

    /// The client took a frame that waited behind the catch-up: the bridge before it, as (cursor, prev).
    pub(crate) fn live(&mut self, offset: i64, prev: i64) -> Option<(i64, i64)> {
        let bridge = (prev != self.last).then_some((prev, self.last));
        self.last = offset;
        bridge
    }

    /// Everything of the stream below this offset was handed out.
    pub(crate) fn handed_out(&mut self, position: i64) {
        self.position = position;
        self.until = position;
    }

    /// More came than could wait: history goes on up to here.
    pub(crate) fn read_on(&mut self, until: i64) {
        self.until = self.until.max(until);
    }
}
