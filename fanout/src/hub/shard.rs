//! One shard's streams: who listens to what, and how far it has come.
//!
//! In: the shard's records in offset order, subscriptions. Out: frames in sessions' send queues.
//! Always: a stream's frames carry the place of the one before; a subscription's position and its first live
//! frame are decided under one lock, so that nothing falls between them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::Waker,
};

use carillon_schemas::{Stream, TenantId, cursor::Cursor, frame::ServerFrame};

use super::{
    Notice, Of,
    newest::{Age, Key, Newest},
    pending::Pending,
    slots::Slots,
};
use crate::{
    SessionLimits,
    frame::{self, LiveFrame},
    receipts::Tally,
    session::{Item, Offered, SendQueue},
};

/// One shard.
pub(crate) struct Shard {
    generation: u16,
    number: u16,
    limits: Arc<SessionLimits>,
    /// Offset of the next record.
    next: i64,
    tenants: HashMap<TenantId, HashMap<Stream, Listeners>>,
    newest: Newest,
}

/// The listeners of a stream that has at least one.
struct Listeners {
    /// Offset of the last notification seen, or of the last record of the shard when the first listener came.
    head: i64,
    /// Whether `head` is a notification of the stream.
    seen: bool,
    subscribers: Slots<Subscriber>,
}

struct Subscriber {
    queue: Arc<SendQueue>,
    catching: Option<Box<Catching>>,
}

struct Catching {
    ticket: u64,
    pending: Pending,
}

/// Where a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its number in the stream.
    pub(crate) slot: u32,
    /// The shard's next offset at this moment: what is below comes from history, the rest live.
    pub(crate) until: i64,
    /// The place before the stream's next notification.
    pub(crate) head: i64,
    /// Whether the head is a notification of the stream, so that nothing newer stands below `until`.
    pub(crate) seen: bool,
}

/// How a subscription begins.
pub(crate) enum Begin<'a> {
    /// Live at once; the answer is made from the cursor and queued before the first frame.
    Live(&'a dyn Fn(Cursor) -> ServerFrame),
    /// After a catch-up with this ticket.
    CatchingUp(u64),
}

/// What a record did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Sessions whose queue took it.
    pub(crate) queued: u64,
    /// Sessions whose queue was full.
    pub(crate) dropped: u64,
}

/// What a catch-up that has come through history is told.
#[derive(Debug)]
pub(crate) enum Join {
    /// The subscription is live; all that waited is in the queue.
    Live,
    /// It was ended or begun anew: stop.
    Gone,
    /// The queue has no room for what waited: put these in when there is, and ask again. Everything of the
    /// stream below `position` is now handed out.
    Frames {
        /// What waited, in order.
        frames: VecDeque<LiveFrame>,
        /// The shard's next offset.
        position: i64,
    },
    /// Too much came meanwhile: read the topic on up to here, and ask again.
    ReadOn {
        /// The shard's next offset.
        until: i64,
    },
}

impl Shard {
    /// A shard of a topic generation, before the record at `next`.
    pub(crate) fn new(generation: u16, number: u16, next: i64, limits: Arc<SessionLimits>) -> Self {
        Self {
            generation,
            number,
            limits,
            next,
            tenants: HashMap::new(),
            newest: Newest::default(),
        }
    }

    /// The offset of the next record.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// The cursor of an offset.
    pub(crate) fn cursor(&self, offset: i64) -> Cursor {
        Cursor {
            generation: self.generation,
            shard: self.number,
            offset,
        }
    }

    /// Whether somebody of this tenant listens here.
    pub(crate) fn listens(&self, tenant: &TenantId) -> bool {
        self.tenants.contains_key(tenant)
    }

    /// A record that is nobody's here: the shard has come past it.
    pub(crate) fn pass(&mut self, offset: i64) {
        self.next = self.next.max(offset + 1);
    }

    /// A notification: encoded once, offered to every listener of its stream. A record that was seen before
    /// (a tail that began anew) does nothing.
    pub(crate) fn deliver(&mut self, offset: i64, notice: &Notice<'_>, wakers: &mut Vec<Waker>) -> Delivered {
        let mut outcome = Delivered::default();
        if offset < self.next {
            return outcome;
        }
        self.next = offset + 1;
        let cursor = self.cursor(offset);
        let (generation, number) = (self.generation, self.number);
        let Of { tenant, stream } = notice.of;
        let Some(listeners) = self.tenants.get_mut(tenant).and_then(|s| s.get_mut(stream)) else {
            return outcome;
        };
        let prev = Cursor {
            generation,
            shard: number,
            offset: listeners.head,
        };
        let Some(text) = frame::notification(stream, cursor, prev, notice.delivery) else {
            return outcome;
        };
        let live = LiveFrame {
            text,
            offset,
            prev: listeners.head,
            written_ms: notice.written_ms,
            tally: Tally::new(notice.identity()),
        };
        (listeners.head, listeners.seen) = (offset, true);
        for subscriber in listeners.subscribers.iter_mut() {
            if let Some(catching) = &mut subscriber.catching {
                catching.pending.push(&self.limits, live.clone());
                continue;
            }
            match subscriber.queue.offer(stream, &live, prev) {
                Offered::Queued(waker) => {
                    outcome.queued += 1;
                    wakers.extend(waker);
                }
                Offered::Dropped => outcome.dropped += 1,
                Offered::Ending => {}
            }
        }
        outcome
    }

    /// Whether a newer one of this key came before.
    pub(crate) fn is_superseded(&mut self, key: Key, age: Age) -> bool {
        self.newest.is_superseded(key, age)
    }

    /// A notification that nobody gets: the chain of its stream goes past it, so that the next one's `prev` is the
    /// place before it. Says whether somebody listens; a record that was seen before does nothing.
    pub(crate) fn leave_out(&mut self, offset: i64, of: Of<'_>) -> bool {
        if offset < self.next {
            return false;
        }
        self.next = offset + 1;
        let streams = self.tenants.get(of.tenant);
        streams.is_some_and(|streams| streams.contains_key(of.stream))
    }

    /// Adds a listener, or begins the one at `slot` anew.
    pub(crate) fn subscribe(
        &mut self,
        tenant: &TenantId,
        stream: &Stream,
        queue: &Arc<SendQueue>,
        slot: Option<u32>,
        begin: &Begin<'_>,
    ) -> Place {
        let virtual_head = self.next - 1;
        let until = self.next;
        let streams = self.tenants.entry(tenant.clone()).or_default();
        let listeners = streams.entry(stream.clone()).or_insert_with(|| Listeners {
            head: virtual_head,
            seen: false,
            subscribers: Slots::default(),
        });
        let head = listeners.head;
        let seen = listeners.seen;
        let catching = match begin {
            Begin::Live(_) => None,
            Begin::CatchingUp(ticket) => Some(Box::new(Catching {
                ticket: *ticket,
                pending: Pending::default(),
            })),
        };
        let slot = match slot.and_then(|at| Some((at, listeners.subscribers.get_mut(at)?))) {
            Some((at, subscriber)) => {
                subscriber.catching = catching;
                at
            }
            None => listeners.subscribers.insert(Subscriber {
                queue: Arc::clone(queue),
                catching,
            }),
        };
        if let Begin::Live(answer) = begin {
            queue.answer(frame::answer(&answer(self.cursor(head))));
        }
        Place {
            slot,
            until,
            head,
            seen,
        }
    }

    /// Ends a listener. The stream is forgotten with its last one.
    pub(crate) fn unsubscribe(&mut self, tenant: &TenantId, stream: &Stream, slot: u32) {
        let Some(streams) = self.tenants.get_mut(tenant) else {
            return;
        };
        let Some(listeners) = streams.get_mut(stream) else {
            return;
        };
        listeners.subscribers.remove(slot);
        if listeners.subscribers.len() == 0 {
            streams.remove(stream);
        }
        if streams.is_empty() {
            self.tenants.remove(tenant);
        }
    }

    /// Whether the listener is still catching up with this ticket.
    pub(crate) fn catches_up(&mut self, tenant: &TenantId, stream: &Stream, slot: u32, ticket: u64) -> bool {
        let streams = self.tenants.get_mut(tenant);
        let listeners = streams.and_then(|streams| streams.get_mut(stream));
        let subscriber = listeners.and_then(|listeners| listeners.subscribers.get_mut(slot));
        let catching = subscriber.and_then(|subscriber| subscriber.catching.as_ref());
        catching.is_some_and(|catching| catching.ticket == ticket)
    }

    /// A catch-up whose session has everything of the stream up to `last` wants to go live.
    pub(crate) fn join(
        &mut self,
        tenant: &TenantId,
        stream: &Stream,
        slot: u32,
        ticket: u64,
        last: i64,
    ) -> Join {
        let position = self.next;
        let (generation, shard) = (self.generation, self.number);
        let cursor = |offset| Cursor {
            generation,
            shard,
            offset,
        };
        let Some(listeners) = self.tenants.get_mut(tenant).and_then(|s| s.get_mut(stream)) else {
            return Join::Gone;
        };
        let head = listeners.head;
        let Some(subscriber) = listeners.subscribers.get_mut(slot) else {
            return Join::Gone;
        };
        let Some(catching) = subscriber.catching.as_mut().filter(|c| c.ticket == ticket) else {
            return Join::Gone;
        };
        if catching.pending.take_overflow() {
            return Join::ReadOn { until: position };
        }
        catching.pending.forget_up_to(last);
        let mut items = VecDeque::new();
        let prev = catching.pending.first_prev().unwrap_or(head);
        if prev != last {
            items.push_back(skip(stream, cursor(prev), cursor(last)));
        }
        let live = catching.pending.frames();
        items.extend(live.map(LiveFrame::item));
        if items.is_empty() || subscriber.queue.push_all(&mut items) {
            subscriber.catching = None;
            return Join::Live;
        }
        Join::Frames {
            frames: catching.pending.take(),
            position,
        }
    }
}

/// The message that bridges two places of a stream between which nothing stands.
pub(crate) fn skip(stream: &Stream, cursor: Cursor, prev: Cursor) -> Item {
    Item::skip(frame::answer(&ServerFrame::Skipped {
        stream: stream.clone(),
        cursor,
        prev,
    }))
}
