//! Live frames that wait behind a catch-up.
//!
//! In: frames of one stream for one session, while history is read. Out: them, or that there were too many.
//! Always: bounded; what overflows is given up whole, because the topic still has it.

use std::collections::VecDeque;

use crate::{SessionLimits, frame::LiveFrame};

/// The buffer of one catching-up subscription.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    frames: VecDeque<LiveFrame>,
    bytes: usize,
    overflowed: bool,
}

impl Pending {
    /// Keeps a frame, or gives all up.
    pub(crate) fn push(&mut self, limits: &SessionLimits, frame: LiveFrame) {
        if self.overflowed {
            return;
        }
        let full = self.frames.len() >= limits.pending_frames
            || (self.bytes + frame.text.len() > limits.pending_bytes && !self.frames.is_empty());
        if full {
            *self = Self {
                overflowed: true,
                ..Self::default()
            };
            return;
        }
        self.bytes += frame.text.len();
        self.frames.push_back(frame);
    }

    /// Drops frames that the session has already.
    pub(crate) fn forget_up_to(&mut self, offset: i64) {
        while let Some(first) = self.frames.pop_front_if(|frame| frame.offset <= offset) {
            self.bytes -= first.text.len();
        }
    }

    /// Begins anew; says whether frames were given up, so that they must be read from the topic.
    pub(crate) fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.overflowed)
    }

    /// Takes the frames out.
    pub(crate) fn take(&mut self) -> VecDeque<LiveFrame> {
        self.bytes = 0;
        std::mem::take(&mut self.frames)
    }

    /// The place before the first frame.
    pub(crate) fn first_prev(&self) -> Option<i64> {
        self.frames.front().map(|frame| frame.prev)
    }

    /// The frames.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &LiveFrame> {
        self.frames.iter()
    }
}
