//! The send queue of one session, shared by the hub that fills it and the session that writes it.
//!
//! In: frames from the hub, answers from the session, history from catch-ups. Out: messages in order.
//! Always: filling never waits; the writer is woken once per burst; a catch-up waits until half is empty.

mod core;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
};

use carillon_schemas::{Stream, close::CloseCode, cursor::Cursor};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use self::core::{AnswersFull, Core};
pub(crate) use self::core::{Item, Kind};
use crate::{
    SessionLimits,
    frame::{LiveFrame, Text},
};

/// What the session's writer finds.
pub(crate) enum Next {
    /// A message.
    Message(Item),
    /// Nothing more will come: say goodbye with this code.
    Close(CloseCode),
    /// Nothing now; the waker is kept.
    Nothing,
}

/// What became of an offered notification.
pub(crate) enum Offered {
    /// Queued. The waker, if any, is the writer's: wake it when the burst is over.
    Queued(Option<Waker>),
    /// Dropped, and marked as lagged.
    Dropped,
    /// Not taken: the session ends.
    Ending,
}

/// The queue.
pub(crate) struct SendQueue {
    limits: Arc<SessionLimits>,
    state: Mutex<State>,
    /// Told when half of the room is free, and on close.
    room: Notify,
    /// One catch-up of a session holds frames at a time.
    turn: Semaphore,
    /// Catch-ups that wait for it or have it.
    waiting: AtomicUsize,
}

/// Most catch-ups of one session that wait; one more is refused.
const CATCH_UPS_WAITING: usize = 16;

#[derive(Default)]
struct State {
    core: Core,
    /// The writer, while it waits for something to write.
    writer: Option<Waker>,
    /// The session's task, to be told that it ends even while its socket is stuck.
    session: Option<Waker>,
    room_wanted: bool,
}

impl SendQueue {
    /// An empty queue.
    pub(crate) fn new(limits: Arc<SessionLimits>) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            room: Notify::new(),
            turn: Semaphore::new(1),
            waiting: AtomicUsize::new(0),
        }
    }

    /// A live notification of a stream; `prev` is the cursor before it.
    pub(crate) fn offer(&self, stream: &Stream, frame: &LiveFrame, prev: Cursor) -> Offered {
        let mut state = self.state.lock();
        match state.core.offer(&self.limits, stream, frame, prev) {
            Some(true) => Offered::Queued(state.writer.take()),
            Some(false) => Offered::Dropped,
            None => Offered::Ending,
        }
    }

    /// Frames that must not be dropped: takes all or none, and says which.
    pub(crate) fn push_all(&self, items: &mut VecDeque<Item>) -> bool {
        let mut state = self.state.lock();
        let taken = state.core.push_all(&self.limits, items);
        let writer = state.writer.take_if(|_| taken);
        drop(state);
        wake(writer);
        taken
    }

    /// An answer. A peer that asks and does not read is closed as a slow consumer.
    pub(crate) fn answer(&self, text: Text) {
        let mut state = self.state.lock();
        if state.core.answer(&self.limits, text) == Err(AnswersFull) {
            drop(state);
            return self.close_now(CloseCode::SlowConsumer);
        }
        let writer = state.writer.take();
        drop(state);
        wake(writer);
    }

    /// Ends the session after what is queued.
    pub(crate) fn close(&self, code: CloseCode) {
        self.end(|core| core.close(code));
    }

    /// Ends the session; what is queued is not written.
    pub(crate) fn close_now(&self, code: CloseCode) {
        self.end(|core| core.close_now(code));
    }

    fn end(&self, how: impl FnOnce(&mut Core)) {
        let mut state = self.state.lock();
        how(&mut state.core);
        let session = state.writer.take().or(state.session.take());
        drop(state);
        wake(session);
        self.room.notify_waiters();
    }

    /// Why the session is ending, if it is.
    pub(crate) fn closed(&self) -> Option<CloseCode> {
        self.state.lock().core.closed()
    }

    /// Whether the session is ending.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed().is_some()
    }

    /// The session's task looks whether it ends, and will be woken when it does.
    pub(crate) fn attend(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        if !state.session.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            state.session = Some(cx.waker().clone());
        }
        state.core.closed().is_some()
    }

    /// The writer's next message.
    pub(crate) fn next(&self, cx: &Context<'_>) -> Next {
        let mut state = self.state.lock();
        let Some(item) = state.core.pop(&self.limits) else {
            if let Some(code) = state.core.closed() {
                return Next::Close(code);
            }
            if !state.writer.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                state.writer = Some(cx.waker().clone());
            }
            return Next::Nothing;
        };
        if state.room_wanted && state.core.half_empty(&self.limits) {
            state.room_wanted = false;
            drop(state);
            self.room.notify_waiters();
        }
        Next::Message(item)
    }

    /// Waits until half of the room is free; false when the session ends.
    pub(crate) async fn room(&self) -> bool {
        loop {
            let told = self.room.notified();
            {
                let mut state = self.state.lock();
                if state.core.closed().is_some() {
                    return false;
                }
                if state.core.half_empty(&self.limits) {
                    return true;
                }
                state.room_wanted = true;
            }
            told.await;
        }
    }

    /// A place among the catch-ups of this session; none when too many wait already.
    pub(crate) fn waiting(self: &Arc<Self>) -> Option<Waiting> {
        let one_more = |waiting| (waiting < CATCH_UPS_WAITING).then_some(waiting + 1);
        let ordering = Ordering::Relaxed;
        self.waiting.fetch_update(ordering, ordering, one_more).ok()?;
        Some(Waiting(Arc::clone(self)))
    }
}

/// A place among the catch-ups of one session.
pub(crate) struct Waiting(Arc<SendQueue>);

impl Waiting {
    /// Waits for the turn: of one session, one catch-up holds frames at a time.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.0.turn.acquire().await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn wake(writer: Option<Waker>) {
    if let Some(writer) = writer {
        writer.wake();
    }
}
