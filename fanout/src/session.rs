//! A session: one connected client, from its first frame to its last.
//!
//! In: an upgraded connection and who is on the other side. Out: frames both ways, until one side ends it.
//! Always: one task; whatever ends it, its seat and subscriptions are given back; every wait has its end.

mod conversation;
mod metered;
mod pace;
pub(crate) mod send_queue;
mod socket;
mod unflushed;
mod witness;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use carillon_schemas::close::CloseCode;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep},
};

pub(crate) use self::{
    conversation::{Conversation, Identity},
    send_queue::{Item, Offered, SendQueue, Waiting},
};
use self::{
    pace::Pace,
    socket::{Event, Socket},
    witness::Witness,
};
use crate::node::Node;

/// A timer further away than this is set anew on the way.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// One session.
pub(crate) struct Session<S> {
    node: Arc<Node>,
    queue: Arc<SendQueue>,
    conversation: Conversation,
    socket: Socket<S>,
    pace: Pace,
    sleep: Pin<Box<Sleep>>,
    ping_at: Instant,
    expires_at: Option<Instant>,
    close_by: Option<Instant>,
}

enum Step {
    Event(Event),
    Tick,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session on an upgraded connection.
    pub(crate) async fn new(
        node: Arc<Node>,
        queue: Arc<SendQueue>,
        conversation: Conversation,
        connection: S,
    ) -> Self {
        let now = Instant::now();
        let limits = &node.limits;
        // Sessions that came together do not ping together.
        let first_ping = limits.ping_every.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        let mut session = Self {
            socket: Socket::new(connection, limits).await,
            pace: Pace::new(limits.inbound_per_second, limits.inbound_burst, now),
            sleep: Box::pin(tokio::time::sleep_until(now + FAR)),
            ping_at: now + first_ping,
            expires_at: None,
            close_by: None,
            node,
            queue,
            conversation,
        };
        session.expires_at = session.expiry(now);
        session
    }

    /// Runs to the end; says the code that was sent, if one was.
    pub(crate) async fn run(mut self) -> Option<CloseCode> {
        loop {
            match poll_fn(|cx| self.poll(cx)).await {
                Step::Event(Event::Ended) => break,
                Step::Event(event) => self.on_event(event),
                Step::Tick => {
                    if self.on_tick(Instant::now()) {
                        break;
                    }
                }
            }
        }
        let code = self.queue.closed();
        // Whoever waits for room in this queue need not any more.
        self.queue.close_now(CloseCode::Draining);
        code
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if self.queue.attend(cx) && self.close_by.is_none() {
            self.close_by = Some(Instant::now() + self.node.limits.close_timeout);
            // A flood must not keep the session from its end.
            self.socket.stop_reading();
        }
        let event = self.socket.poll(cx, &self.queue, Witness(&self.node));
        if let Poll::Ready(event) = event {
            return Poll::Ready(Step::Event(event));
        }
        let due = self.next_tick();
        if due != self.sleep.deadline() {
            self.sleep.as_mut().reset(due);
        }
        self.sleep.as_mut().poll(cx).map(|()| Step::Tick)
    }

    fn next_tick(&mut self) -> Instant {
        if let Some(close_by) = self.close_by {
            return close_by;
        }
        let limits = &self.node.limits;
        let pong = self.socket.pinged_at().map(|at| at + limits.pong_timeout);
        let stuck = self.socket.stuck_since().map(|at| at + limits.write_timeout);
        let all = [self.expires_at, pong, stuck];
        all.into_iter().flatten().fold(self.ping_at, Instant::min)
    }

    fn on_event(&mut self, event: Event) {
        if self.queue.is_closed() {
            return;
        }
        if matches!(event, Event::Broken) {
            return self.queue.close_now(CloseCode::ProtocolViolation);
        }
        if !self.pace.take(Instant::now()) {
            return self.queue.close_now(CloseCode::TooManyFrames);
        }
        match event {
            Event::Text(text) => {
                self.conversation.hear(&text);
                self.expires_at = self.expiry(Instant::now());
            }
            Event::Binary => self.conversation.hear_binary(),
            Event::Control | Event::Broken | Event::Ended => {}
        }
    }

    /// What has come due; true when the session is over.
    fn on_tick(&mut self, now: Instant) -> bool {
        let limits = Arc::clone(&self.node.limits);
        let past = |at: Option<Instant>, by: Duration| at.is_some_and(|at| at + by <= now);
        if past(self.close_by, Duration::ZERO) {
            return true;
        }
        if past(self.socket.pinged_at(), limits.pong_timeout) {
            self.queue.close_now(CloseCode::NoPong);
        } else if past(self.socket.stuck_since(), limits.write_timeout) {
            self.queue.close_now(CloseCode::SlowConsumer);
        } else if past(self.expires_at, Duration::ZERO) {
            self.expires_at = self.expiry(now);
            if past(self.expires_at, Duration::ZERO) {
                self.queue.close(CloseCode::TokenExpired);
            }
        }
        if self.ping_at <= now {
            self.ping_at = now + limits.ping_every;
            self.socket.ping();
        }
        false
    }

    /// When the token ends, on the timer's clock.
    fn expiry(&self, now: Instant) -> Option<Instant> {
        let expires_ms = self.conversation.expires()?.saturating_mul(1000);
        let left = Duration::from_millis(expires_ms.saturating_sub(self.node.clock.unix_ms()));
        Some(now + left.min(FAR))
    }
}
