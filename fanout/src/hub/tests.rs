//! The seam between history and live, tried with random traffic.
//!
//! In: a model log, listeners that come with cursors, queues that are drained at random. Out: what each
//! client saw. Always: every notification once, in order, chained by `prev`, or told as lagged; what has expired
//! is no gap.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Waker},
};

use carillon_schemas::{NotificationId, Stream, TenantId, cursor::Cursor, frame::ServerFrame};
use proptest::prelude::*;

use super::{
    Notice, Of,
    shard::{Begin, Join, Shard, skip},
};
use crate::{
    SessionLimits, frame,
    receipts::{Which, tests::any_tally},
    resume::Progress,
    session::{Item, SendQueue, send_queue::Next},
};

fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

fn stream(n: usize) -> Stream {
    Stream::Channel(format!("c{n}").parse().unwrap())
}

fn value(offset: usize) -> Vec<u8> {
    let id = carillon_schemas::NotificationId::at(offset as u64, &[0; 10]);
    format!(
        r#"{{"delivery":1,"notification_id":"{id}","tenant_id":"acme","channel":"c0","correlation_id":"x","accepted_at":0,"content":"{offset}"}}"#
    )
    .into_bytes()
}

/// In the log: came after its time to live. Nobody gets it.
const EXPIRED: usize = 8;
/// In the log: went out, and has expired since. Those who catch up do not get it.
const EXPIRED_SINCE: usize = 9;

/// What one client believes: its last cursor, and what it has seen.
struct Client {
    queue: Arc<SendQueue>,
    since: i64,
    slot: u32,
    last: Option<i64>,
    seen: Vec<i64>,
    lost: u64,
    told: bool,
    progress: Option<Progress>,
    waiting: VecDeque<Item>,
}

impl Client {
    fn read(&mut self, n: usize) -> bool {
        let cx = Context::from_waker(Waker::noop());
        for _ in 0..n {
            let Next::Message(item) = self.queue.next(&cx) else {
                return false;
            };
            self.take(ServerFrame::parse(&item.text).unwrap());
        }
        true
    }

    fn take(&mut self, frame: ServerFrame) {
        match frame {
            ServerFrame::Subscribed { cursor, .. } => self.last = Some(cursor.offset),
            ServerFrame::Skipped { cursor, prev, .. } => {
                assert_eq!(Some(prev.offset), self.last, "a bridge from elsewhere");
                self.last = Some(cursor.offset);
            }
            ServerFrame::Lagged { dropped, cursor, .. } => {
                assert_eq!(Some(cursor.offset), self.last, "lagged from elsewhere");
                self.lost += dropped;
                self.told = true;
            }
            ServerFrame::Notification(n) => {
                assert_eq!(n.delivery.envelope.content, n.cursor.offset.to_string());
                let gap = Some(n.prev.offset) != self.last;
                assert!(!gap || std::mem::take(&mut self.told), "a gap that was not told");
                assert!(
                    self.seen.last().is_none_or(|last| *last < n.cursor.offset),
                    "order"
                );
                self.seen.push(n.cursor.offset);
                self.last = Some(n.cursor.offset);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// One shard with its log, and clients of stream 0.
struct World {
    log: Vec<usize>,
    shard: Shard,
    clients: Vec<Client>,
    limits: Arc<SessionLimits>,
}

impl World {
    fn publish(&mut self, n: usize) {
        let offset = self.log.len();
        self.log.push(n);
        let mut wakers = Vec::new();
        let (tenant, stream) = (tenant(), stream(n));
        let notice = Notice {
            of: Of {
                tenant: &tenant,
                stream: &stream,
            },
            id: NotificationId::from_bytes([0; 16]),
            which: Which::FIRST,
            delivery: &value(offset),
            written_ms: 0,
        };
        self.shard.deliver(offset as i64, &notice, &mut wakers);
    }

    fn expire(&mut self) {
        let offset = self.log.len() as i64;
        self.log.push(EXPIRED);
        let (tenant, stream) = (tenant(), stream(0));
        let of = Of {
            tenant: &tenant,
            stream: &stream,
        };
        self.shard.leave_out(offset, of);
    }

    fn expire_since(&mut self, at: usize) {
        if let Some(entry) = self.log.get_mut(at).filter(|entry| **entry == 0) {
            *entry = EXPIRED_SINCE;
        }
    }

    fn subscribe(&mut self, since: Option<i64>) {
        let queue = Arc::new(SendQueue::new(Arc::clone(&self.limits)));
        let answer = |cursor: Cursor| ServerFrame::Subscribed {
            stream: stream(0),
            channel: None,
            cursor,
            recovered: since.is_some(),
            id: None,
        };
        let ticket = self.clients.len() as u64;
        let begin = match since {
            None => Begin::Live(&answer),
            Some(_) => Begin::CatchingUp(ticket),
        };
        let place = self.shard.subscribe(&tenant(), &stream(0), &queue, None, &begin);
        if let Some(since) = since {
            queue.answer(frame::answer(&answer(self.shard.cursor(since))));
        }
        self.clients.push(Client {
            queue,
            since: since.unwrap_or(place.until - 1),
            slot: place.slot,
            last: None,
            seen: Vec::new(),
            lost: 0,
            told: false,
            progress: since.map(|since| Progress::new(since, place.until)),
            waiting: VecDeque::new(),
        });
    }

    /// One step of a client's catch-up: one record of history, or one attempt to join.
    fn step(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(progress) = &mut client.progress else {
            return;
        };
        if self.shard.next() <= client.since {
            return;
        }
        if let Some(item) = client.waiting.pop_front() {
            let mut one = VecDeque::from([item]);
            if !client.queue.push_all(&mut one) {
                client.waiting.push_front(one.remove(0).unwrap());
            }
            return;
        }
        if let Some((from, _)) = progress.range() {
            if self.log[from as usize] == 0
                && let Some(prev) = progress.record(from)
            {
                let (cursor, prev) = (self.shard.cursor(from), self.shard.cursor(prev));
                let text = frame::notification(&stream(0), cursor, prev, &value(from as usize)).unwrap();
                client.waiting.push_back(Item::notification(text, 0, any_tally()));
            }
            progress.read_up_to(from + 1);
            return;
        }
        match self
            .shard
            .join(&tenant(), &stream(0), client.slot, at as u64, progress.last())
        {
            Join::Live => client.progress = None,
            Join::Gone => panic!("nobody unsubscribed"),
            Join::ReadOn { until } => progress.read_on(until),
            Join::Frames { frames, position } => {
                for live in frames {
                    if let Some((cursor, prev)) = progress.live(live.offset, live.prev) {
                        let (cursor, prev) = (self.shard.cursor(cursor), self.shard.cursor(prev));
                        client.waiting.push_back(skip(&stream(0), cursor, prev));
                    }
                    client.waiting.push_back(live.item());
                }
                progress.handed_out(position);
            }
        }
    }

    fn finish(&mut self) {
        // Cursors that lay ahead are reached.
        (0..3).for_each(|_| self.publish(1));
        for at in 0..self.clients.len() {
            for _ in 0..10_000 {
                self.step(at);
                while self.clients[at].read(1) {}
                if self.clients[at].progress.is_none() {
                    break;
                }
            }
            assert!(self.clients[at].progress.is_none(), "never joined");
            let client = &self.clients[at];
            let of_kind = |kind: usize| {
                let offsets = client.since + 1..self.log.len() as i64;
                offsets.filter(|at| self.log[*at as usize] == kind).count()
            };
            let (must, may) = (of_kind(0), of_kind(EXPIRED_SINCE));
            let told = client.seen.len() + client.lost as usize;
            assert!(
                (must..=must + may).contains(&told),
                "{told} of {must} to {may} more"
            );
            assert!(
                client
                    .seen
                    .iter()
                    .all(|at| matches!(self.log[*at as usize], 0 | EXPIRED_SINCE))
            );
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Publish(usize),
    Expire,
    ExpireSince(usize),
    Subscribe(Option<u8>),
    Step(usize),
    Read(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0usize..2).prop_map(Op::Publish),
        1 => Just(Op::Expire),
        1 => (0usize..24).prop_map(Op::ExpireSince),
        1 => proptest::option::weighted(0.8, any::<u8>()).prop_map(Op::Subscribe),
        6 => (0usize..4).prop_map(Op::Step),
        3 => (0usize..4, 1usize..6).prop_map(|(c, n)| Op::Read(c, n)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn history_and_live_join_without_a_gap_or_a_repeat(
        history in prop::collection::vec(0usize..2, 0..12),
        queue_frames in 1usize..6,
        pending_frames in 1usize..4,
        ops in prop::collection::vec(op(), 0..120),
    ) {
        let limits = Arc::new(SessionLimits {
            queue_frames,
            pending_frames,
            ..SessionLimits::default()
        });
        let mut world = World {
            log: history.clone(),
            shard: Shard::new(1, 0, history.len() as i64, Arc::clone(&limits)),
            clients: Vec::new(),
            limits,
        };
        for op in ops {
            let clients = world.clients.len();
            match op {
                Op::Publish(n) => world.publish(n),
                Op::Expire => world.expire(),
                Op::ExpireSince(at) => world.expire_since(at),
                Op::Subscribe(since) if clients < 4 => {
                    let end = world.log.len() as i64;
                    // Any place from before the first record to a little ahead of this node.
                    world.subscribe(since.map(|s| i64::from(s) % (end + 4) - 1));
                }
                Op::Step(c) if c < clients => world.step(c),
                Op::Read(c, n) if c < clients => drop(world.clients[c].read(n)),
                _ => {}
            }
        }
        world.finish();
    }
}
