//! Acknowledgements on their way to the server.
//!
//! In: notifications that the caller has done with. Out: frames that name many, so few a second that the server's
//! pace of inbound frames is kept. Always: bounded; when full the oldest is dropped, because the server sends what
//! it wants acknowledged again. Pure: the time is an argument.

use std::{collections::VecDeque, time::Duration};

use carillon_schemas::{
    NotificationId,
    frame::{Acknowledge, ClientFrame},
    limits,
};
use tokio::time::Instant;

/// Between two frames: at most five a second, of the ten that the server takes.
const EVERY: Duration = Duration::from_millis(200);
/// Most that wait.
const WAITING: usize = 8192;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Acks {
    waiting: VecDeque<NotificationId>,
    /// No frame before.
    not_before: Option<Instant>,
}

impl Acks {
    pub(super) fn push(&mut self, id: NotificationId) {
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(id);
    }

    /// When the next frame may be sent; none when there is nothing to say.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        (!self.waiting.is_empty()).then(|| self.not_before.unwrap_or(now))
    }

    /// The next frame. What it names waits until [`written`](Self::written).
    pub(super) fn frame(&self) -> ClientFrame {
        let named = self.waiting.iter().take(limits::ACKS_PER_FRAME);
        ClientFrame::Ack(Acknowledge {
            notification_id: None,
            notification_ids: named.copied().collect(),
        })
    }

    /// The frame was written.
    pub(super) fn written(&mut self, now: Instant) {
        let named = self.waiting.len().min(limits::ACKS_PER_FRAME);
        self.waiting.drain(..named);
        self.not_before = Some(now + EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(acks: &Acks) -> usize {
        match acks.frame() {
            ClientFrame::Ack(acknowledge) => acknowledge.all().count(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn many_share_a_frame_and_frames_keep_a_distance() {
        let (mut acks, now) = (Acks::default(), Instant::now());
        assert_eq!(acks.due(now), None);
        (0..130).for_each(|n| acks.push(NotificationId::from_bytes([n; 16])));
        assert_eq!((acks.due(now), named(&acks)), (Some(now), 100));
        acks.written(now);
        assert_eq!((acks.due(now), named(&acks)), (Some(now + EVERY), 30));
        acks.written(now);
        assert_eq!(acks.due(now), None);
    }

    #[test]
    fn the_oldest_is_dropped_for_the_newest() {
        let mut acks = Acks::default();
        let id = |n: usize| NotificationId::at(n as u64, &[0; 10]);
        (0..=WAITING).for_each(|n| acks.push(id(n)));
        assert_eq!(acks.waiting.len(), WAITING);
        assert_eq!(acks.waiting.front(), Some(&id(1)));
    }
}
