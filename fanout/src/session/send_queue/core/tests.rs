//! What the send queue promises, tried with random traffic.
//!
//! In: random offers, answers and pops. Out: a client's view of them. Always: the view has no hole that
//! was not told.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::receipts::tests::any_tally;

fn limits(frames: usize, bytes: usize, answers: usize) -> SessionLimits {
    SessionLimits {
        queue_frames: frames,
        queue_bytes: bytes,
        queue_answers: answers,
        ..SessionLimits::default()
    }
}

fn stream(n: usize) -> Stream {
    Stream::Channel(format!("c{n}").parse().unwrap())
}

fn cursor(offset: i64) -> Cursor {
    Cursor {
        generation: 1,
        shard: 0,
        offset,
    }
}

/// A source of numbered notifications on a few streams, and a client that checks what it gets.
#[derive(Default)]
struct World {
    core: Core,
    next: i64,
    heads: HashMap<usize, i64>,
    last: HashMap<Stream, i64>,
    told: HashMap<Stream, i64>,
    offered: u64,
    delivered: u64,
    dropped: u64,
    answered: u64,
}

impl World {
    fn offer(&mut self, limits: &SessionLimits, n: usize, size: usize) {
        let prev = self.heads.insert(n, self.next).unwrap_or(-1);
        let text = format!("{}|{}|{prev}|{}", stream(n), self.next, "x".repeat(size));
        let frame = LiveFrame {
            text: text.into(),
            offset: self.next,
            prev,
            written_ms: 0,
            tally: any_tally(),
        };
        self.core.offer(limits, &stream(n), &frame, cursor(prev));
        self.next += 1;
        self.offered += 1;
    }

    fn pop(&mut self, limits: &SessionLimits) -> bool {
        let Some(item) = self.core.pop(limits) else {
            return false;
        };
        match item.kind {
            Kind::Notification(_) => self.see(&item.text),
            Kind::Answer if item.text.as_str() == "answer" => self.answered += 1,
            Kind::Answer => self.hear(&item.text),
            Kind::Skip => unreachable!(),
        }
        true
    }

    fn see(&mut self, text: &str) {
        let mut parts = text.split('|');
        let name: Stream = parts.next().unwrap().parse().unwrap();
        let offset: i64 = parts.next().unwrap().parse().unwrap();
        let prev: i64 = parts.next().unwrap().parse().unwrap();
        let last = self.last.insert(name.clone(), offset).unwrap_or(-1);
        assert!(offset > last, "order");
        if prev != last {
            assert_eq!(self.told.remove(&name), Some(last), "a gap that was not told");
        }
        self.delivered += 1;
    }

    fn hear(&mut self, text: &str) {
        let Ok(ServerFrame::Lagged {
            stream,
            dropped,
            cursor,
        }) = ServerFrame::parse(text)
        else {
            panic!("{text}")
        };
        assert_eq!(cursor.offset, *self.last.get(&stream).unwrap_or(&-1));
        assert!(dropped > 0);
        self.dropped += dropped;
        self.told.insert(stream, cursor.offset);
    }
}

proptest! {
    #[test]
    fn no_frame_is_lost_untold_order_is_kept_and_bounds_hold(
        frames in 1usize..6,
        bytes in 40usize..200,
        ops in prop::collection::vec((0u8..8, 0usize..3, 0usize..60), 0..200),
    ) {
        let limits = limits(frames, bytes, 4);
        let mut world = World::default();
        let mut asked = 0u64;
        for (op, n, size) in ops {
            match op {
                0..4 => world.offer(&limits, n, size),
                4 => asked += u64::from(world.core.answer(&limits, "answer".into()).is_ok()),
                _ => drop(world.pop(&limits)),
            }
            prop_assert!(world.core.notifications <= frames);
            prop_assert!(world.core.bytes <= bytes || world.core.notifications == 1);
            prop_assert!(world.core.answers <= 4);
        }
        while world.pop(&limits) {}
        prop_assert_eq!(world.offered, world.delivered + world.dropped);
        prop_assert_eq!(asked, world.answered);
        prop_assert_eq!((world.core.bytes, world.core.notifications, world.core.answers), (0, 0, 0));
    }
}

#[test]
fn a_full_queue_drops_and_says_so_where_the_loss_was() {
    let limits = limits(2, 1_000, 8);
    let mut world = World::default();
    (0..5).for_each(|_| world.offer(&limits, 0, 1));
    assert!(world.pop(&limits));
    world.offer(&limits, 0, 1);
    while world.pop(&limits) {}
    assert_eq!((world.delivered, world.dropped), (3, 3));
    assert!(world.told.is_empty());
}

#[test]
fn answers_pass_a_queue_that_is_full_of_notifications_until_their_own_room_is_full() {
    let limits = limits(1, 1_000, 2);
    let mut core = Core::default();
    let frame = LiveFrame {
        text: "x".into(),
        offset: 0,
        prev: -1,
        written_ms: 0,
        tally: any_tally(),
    };
    assert_eq!(core.offer(&limits, &stream(0), &frame, cursor(-1)), Some(true));
    assert_eq!(core.answer(&limits, "a".into()), Ok(()));
    assert_eq!(core.answer(&limits, "b".into()), Ok(()));
    assert_eq!(core.answer(&limits, "c".into()), Err(AnswersFull));
}

#[test]
fn a_closed_queue_takes_nothing_more_and_keeps_the_first_code() {
    let limits = limits(4, 1_000, 4);
    let mut core = Core::default();
    core.answer(&limits, "before".into()).unwrap();
    core.close(CloseCode::Forbidden);
    core.close(CloseCode::Draining);
    core.answer(&limits, "after".into()).unwrap();
    assert_eq!(core.pop(&limits).unwrap().text.as_str(), "before");
    assert!(core.pop(&limits).is_none());
    assert_eq!(core.closed(), Some(CloseCode::Forbidden));
}
