//! The send queue's rules, without locks or tasks.
//!
//! In: frames for one session. Out: the same in order, or a `lagged` frame where some are missing.
//! Always: bounded in frames and bytes; nothing is lost without a `lagged` that says how much and from where;
//! answers have room of their own, so that a flood of notifications cannot push them out.

use std::{collections::VecDeque, sync::Arc};

use carillon_schemas::{Stream, close::CloseCode, cursor::Cursor, frame::ServerFrame};

use crate::{
    SessionLimits,
    frame::{self, LiveFrame, Text},
    receipts::Tally,
};

/// What a frame is, for the bounds and the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A notification, with the moment its record was written (Unix milliseconds).
    Notification(i64),
    /// A `skipped` inside a stream: takes a notification's room.
    Skip,
    /// Anything else.
    Answer,
}

/// One message to write.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its text.
    pub(crate) text: Text,
    /// Where a session that has taken it counts itself.
    pub(crate) tally: Option<Arc<Tally>>,
}

impl Item {
    /// A notification.
    pub(crate) fn notification(text: Text, written_ms: i64, tally: Arc<Tally>) -> Self {
        Self {
            kind: Kind::Notification(written_ms),
            text,
            tally: Some(tally),
        }
    }

    /// A `skipped`.
    pub(crate) fn skip(text: Text) -> Self {
        Self {
            kind: Kind::Skip,
            text,
            tally: None,
        }
    }

    fn answer(text: Text) -> Self {
        Self {
            kind: Kind::Answer,
            text,
            tally: None,
        }
    }
}

impl LiveFrame {
    /// It as a message.
    pub(crate) fn item(&self) -> Item {
        Item::notification(self.text.clone(), self.written_ms, Arc::clone(&self.tally))
    }
}

/// A stream that lost frames, until one of its frames is queued again.
#[derive(Debug)]
struct Lag {
    stream: Stream,
    /// Frames dropped and not told yet.
    dropped: u64,
    /// The place of the last frame that was queued before the loss.
    cursor: Cursor,
}

/// More answers than their room holds: the peer asks and does not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AnswersFull;

/// The queue of one session.
#[derive(Debug, Default)]
pub(crate) struct Core {
    items: VecDeque<Item>,
    notifications: usize,
    bytes: usize,
    answers: usize,
    lags: Vec<Lag>,
    closed: Option<CloseCode>,
}

impl Core {
    /// A live notification. When there is no room it is dropped and the stream is lagged, until the queue is
    /// half empty again. Returns whether it was taken; nothing when the session is ending.
    pub(crate) fn offer(
        &mut self,
        limits: &SessionLimits,
        stream: &Stream,
        frame: &LiveFrame,
        prev: Cursor,
    ) -> Option<bool> {
        if self.closed.is_some() {
            return None;
        }
        let room = self.has_room(limits, 1, frame.text.len());
        if let Some(at) = self.lags.iter().position(|lag| lag.stream == *stream) {
            if !(room && self.half_empty(limits) && self.tell(limits, at)) {
                self.lags[at].dropped += 1;
                return Some(false);
            }
            self.lags.remove(at);
        } else if !room {
            self.lags.push(Lag {
                stream: stream.clone(),
                dropped: 1,
                cursor: prev,
            });
            return Some(false);
        }
        self.push(frame.item());
        Some(true)
    }

    /// Frames that must not be dropped: all of them or, without room, none.
    pub(crate) fn push_all(&mut self, limits: &SessionLimits, items: &mut VecDeque<Item>) -> bool {
        let bytes = items.iter().map(|item| item.text.len()).sum();
        if self.closed.is_some() || !self.has_room(limits, items.len(), bytes) {
            return false;
        }
        items.drain(..).for_each(|item| self.push(item));
        true
    }

    /// An answer, behind everything that the session must hear before it.
    ///
    /// # Errors
    /// [`AnswersFull`] when its room is used up.
    pub(crate) fn answer(&mut self, limits: &SessionLimits, text: Text) -> Result<(), AnswersFull> {
        if self.closed.is_some() {
            return Ok(());
        }
        self.tell_all(limits);
        if self.answers >= limits.queue_answers {
            return Err(AnswersFull);
        }
        self.push(Item::answer(text));
        Ok(())
    }

    /// The next message to write.
    pub(crate) fn pop(&mut self, limits: &SessionLimits) -> Option<Item> {
        let item = self.items.pop_front()?;
        match item.kind {
            Kind::Answer => self.answers -= 1,
            Kind::Notification(_) | Kind::Skip => {
                self.notifications -= 1;
                self.bytes -= item.text.len();
            }
        }
        if self.half_empty(limits) {
            self.tell_all(limits);
        }
        if self.items.is_empty() {
            // An idle session keeps no buffer.
            self.items = VecDeque::new();
        }
        Some(item)
    }

    /// Takes nothing more; what is queued may still be written. The first code stays.
    pub(crate) fn close(&mut self, code: CloseCode) {
        self.closed.get_or_insert(code);
    }

    /// Takes nothing more and forgets what is queued.
    pub(crate) fn close_now(&mut self, code: CloseCode) {
        self.close(code);
        *self = Self {
            closed: self.closed,
            ..Self::default()
        };
    }

    /// Why the session ends, if it does.
    pub(crate) fn closed(&self) -> Option<CloseCode> {
        self.closed
    }

    /// Whether at most half of the notifications' room is used.
    pub(crate) fn half_empty(&self, limits: &SessionLimits) -> bool {
        self.notifications <= limits.queue_frames / 2 && self.bytes <= limits.queue_bytes / 2
    }

    fn has_room(&self, limits: &SessionLimits, frames: usize, bytes: usize) -> bool {
        // A frame larger than the whole room passes when it would be alone.
        let alone = self.notifications == 0 && frames <= 1;
        alone
            || (self.notifications + frames <= limits.queue_frames
                && self.bytes + bytes <= limits.queue_bytes)
    }

    fn tell_all(&mut self, limits: &SessionLimits) {
        for at in 0..self.lags.len() {
            if !self.tell(limits, at) {
                return;
            }
        }
    }

    /// Puts one loss into the queue, if there is one that was not told. Keeps half of the answers' room for
    /// answers; false when the rest is full.
    fn tell(&mut self, limits: &SessionLimits, at: usize) -> bool {
        let lag = &mut self.lags[at];
        if lag.dropped == 0 {
            return true;
        }
        if self.answers > limits.queue_answers / 2 {
            return false;
        }
        let text = frame::answer(&ServerFrame::Lagged {
            stream: lag.stream.clone(),
            dropped: std::mem::take(&mut lag.dropped),
            cursor: lag.cursor,
        });
        self.push(Item::answer(text));
        true
    }

    fn push(&mut self, item: Item) {
        match item.kind {
            Kind::Answer => self.answers += 1,
            Kind::Notification(_) | Kind::Skip => {
                self.notifications += 1;
                self.bytes += item.text.len();
            }
        }
        self.items.push_back(item);
    }
}

#[cfg(test)]
mod tests;
