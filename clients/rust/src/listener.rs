//! The listener: events of streams, over as many connections as it takes.
//!
//! In: a server, channels, perhaps cursors. Out: events in stream order, each notification once.
//! Always: it reconnects with full jitter and resumes every stream from its last cursor; what cannot be
//! recovered is told. It works only while [`Listener::next`] is awaited: nothing runs beside the caller.

mod acks;
mod seen;
mod socket;
mod streams;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use carillon_schemas::{
    ChannelName, NotificationId, Stream, TenantId, UserId,
    cursor::Cursor,
    frame::{ClientFrame, ErrorCode, NotificationFrame, ServerFrame},
};
use tokio::time::{Instant, sleep_until, timeout_at};

use self::{
    acks::Acks,
    socket::{End, Socket},
    streams::Streams,
};
use crate::{ClientError, Connection, backoff};

/// Most events kept by [`Listener::subscribed`]; more is [`ClientError::Flooded`].
const KEPT_EVENTS: usize = 4096;

/// What to listen to.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    /// The channels, at most 100. The own user's stream comes without being asked for.
    pub channels: Vec<ChannelName>,
    /// Where to resume streams from.
    pub since: BTreeMap<Stream, Cursor>,
    /// For channels without a place in `since`: begin with their last so many notifications, at most 100.
    pub last: Option<u32>,
    /// The tenant to name in frames: needed where the server asks for no token.
    pub tenant: Option<TenantId>,
    /// The user to name in frames, likewise.
    pub user: Option<UserId>,
    /// Silence that ends a connection; the server pings every 20 s.
    pub heartbeat: Duration,
    /// How long the server may take to answer a subscribe frame before the connection is given up.
    pub answer_within: Duration,
    /// How many notifications are remembered to leave out repeats; 0 hands repeats over.
    pub remembered: usize,
    /// Whether a notification is acknowledged when [`Listener::next`] is called again after it, or
    /// [`Listener::close`]: when the caller has done with it.
    pub auto_ack: bool,
}

impl ListenerOptions {
    /// These channels, from now on.
    pub fn channels(channels: impl IntoIterator<Item = ChannelName>) -> Self {
        Self {
            channels: channels.into_iter().collect(),
            since: BTreeMap::new(),
            last: None,
            tenant: None,
            user: None,
            heartbeat: Duration::from_secs(45),
            answer_within: Duration::from_secs(15),
            remembered: 8192,
            auto_ack: false,
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A notification, for the first time.
    Notification(Box<NotificationFrame>),
    /// A stream is subscribed; its notifications follow from this place on.
    Subscribed {
        /// Which stream.
        stream: Stream,
        /// The place before its next notification.
        cursor: Cursor,
        /// Whether everything since the asked place follows.
        recovered: bool,
    },
    /// The server left notifications out because we read too slowly; they are being fetched.
    Lagged {
        /// Of which stream.
        stream: Stream,
        /// How many.
        dropped: u64,
    },
    /// Lost for good: nothing is known about what came after this place.
    Unrecovered {
        /// Of which stream.
        stream: Stream,
        /// The place.
        from: Cursor,
    },
    /// The server refused something that was asked.
    Refused {
        /// Its code.
        code: ErrorCode,
        /// In words.
        detail: String,
    },
    /// The connection was lost; the next call comes back after the wait.
    Disconnected {
        /// The close code, if there was one.
        code: Option<u16>,
        /// In words.
        reason: String,
        /// The wait.
        retry_in: Duration,
    },
    /// The connection was made again; streams are being resumed.
    Reconnected,
}

/// Listens to streams.
#[derive(Debug)]
pub struct Listener {
    server: Connection,
    streams: Streams,
    heartbeat: Duration,
    answer_within: Duration,
    socket: Option<Socket>,
    events: VecDeque<Event>,
    outgoing: VecDeque<ClientFrame>,
    failures: u32,
    retry_at: Option<Instant>,
    answer_by: Option<Instant>,
    acks: Acks,
    auto_ack: bool,
    /// Handed out last, to be acknowledged when the caller comes back.
    handed_out: Option<NotificationId>,
}

impl Listener {
    /// Connects for the first time and asks for the channels. Later connections make themselves.
    ///
    /// # Errors
    /// When the first connection is not made, whatever the reason.
    pub async fn connect(server: &Connection, options: ListenerOptions) -> Result<Self, ClientError> {
        let mut streams = Streams::new(
            &options.channels,
            &options.since,
            options.last,
            options.remembered,
        );
        streams.on_behalf_of(options.tenant, options.user);
        let mut listener = Self {
            server: server.clone(),
            streams,
            heartbeat: options.heartbeat,
            answer_within: options.answer_within,
            socket: None,
            events: VecDeque::new(),
            outgoing: VecDeque::new(),
            failures: 0,
            retry_at: None,
            answer_by: None,
            acks: Acks::default(),
            auto_ack: options.auto_ack,
            handed_out: None,
        };
        listener.open().await?;
        Ok(listener)
    }

    /// The next event, waiting for it. May be dropped and called again. After an error the next call
    /// connects anew.
    ///
    /// # Errors
    /// When the server does not want us back: a close code of 4500 or above, a refused token.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        self.done_with_last();
        loop {
            if let Some(event) = self.events.pop_front() {
                if let Event::Notification(frame) = &event {
                    self.handed_out = Some(frame.delivery.envelope.notification_id);
                }
                return Ok(event);
            }
            self.advance().await?;
        }
    }

    /// Acknowledges a notification. It is told while [`Listener::next`] is awaited, with others in one frame and
    /// over a later connection if need be, or by [`Listener::close`]. Of more than 8,192 that wait the oldest are
    /// dropped; what requires acknowledgement comes again then, with a greater `delivery`.
    pub fn ack(&mut self, id: NotificationId) {
        self.acks.push(id);
    }

    fn done_with_last(&mut self) {
        if let Some(id) = self.handed_out.take().filter(|_| self.auto_ack) {
            self.acks.push(id);
        }
    }

    /// Waits until every channel is subscribed. Events are kept for [`Listener::next`].
    ///
    /// # Errors
    /// As [`Listener::next`]; [`ClientError::Refused`] when a subscription is; [`ClientError::Flooded`].
    pub async fn subscribed(&mut self) -> Result<(), ClientError> {
        let mut kept = std::mem::take(&mut self.events);
        let outcome = self.until_subscribed(&mut kept).await;
        self.events = kept;
        outcome
    }

    async fn until_subscribed(&mut self, kept: &mut VecDeque<Event>) -> Result<(), ClientError> {
        while self.streams.awaiting() {
            if kept.len() >= KEPT_EVENTS {
                return Err(ClientError::Flooded);
            }
            match self.next().await? {
                Event::Refused { code, detail } => return Err(ClientError::Refused { code, detail }),
                event => kept.push_back(event),
            }
        }
        kept.append(&mut self.events);
        Ok(())
    }

    /// The place reached in each stream, to resume from in another life.
    pub fn cursors(&self) -> BTreeMap<Stream, Cursor> {
        self.streams.cursors()
    }

    /// Says what is to be acknowledged, as far as one frame holds it, and goodbye; waits for the answer, two
    /// seconds at most.
    pub async fn close(mut self) {
        self.done_with_last();
        if let Some(mut socket) = self.socket.take() {
            if self.acks.due(Instant::now()).is_some() && socket.send(&self.acks.frame()).await.is_err() {
                return;
            }
            socket.close().await;
        }
    }

    /// One thing happens: a wait, a connection, a frame out, a frame in.
    async fn advance(&mut self) -> Result<(), ClientError> {
        if self.socket.is_none() {
            return self.come_back().await;
        }
        match self.exchange().await {
            Ok(Some(frame)) => self.take(frame),
            Ok(None) => Ok(()),
            Err(end) => self.ended(end),
        }
    }

    async fn exchange(&mut self) -> Result<Option<ServerFrame>, End> {
        let Some(socket) = &mut self.socket else {
            return Ok(None);
        };
        // Popped only when it is written: a dropped call sends it again, with the same id.
        if let Some(frame) = self.outgoing.front() {
            socket.send(frame).await?;
            self.outgoing.pop_front();
            return Ok(None);
        }
        let acks_at = self.acks.due(Instant::now());
        if acks_at.is_some_and(|at| at <= Instant::now()) {
            socket.send(&self.acks.frame()).await?;
            self.acks.written(Instant::now());
            return Ok(None);
        }
        let Some(until) = acks_at.into_iter().chain(self.answer_by).min() else {
            return socket.read().await.map(Some);
        };
        match timeout_at(until, socket.read()).await {
            Ok(frame) => frame.map(Some),
            Err(_) if Some(until) != self.answer_by => Ok(None),
            Err(_) => Err(End::Lost {
                code: None,
                reason: "a subscription was not answered".to_owned(),
            }),
        }
    }

    fn take(&mut self, frame: ServerFrame) -> Result<(), ClientError> {
        let step = self.streams.take(frame);
        self.events.extend(step.event);
        self.outgoing.extend(step.send);
        if let Some(reason) = step.reconnect {
            return self.ended(End::Lost { code: None, reason });
        }
        if self.streams.awaiting() {
            self.answer_by
                .get_or_insert_with(|| Instant::now() + self.answer_within);
        } else {
            self.answer_by = None;
            self.failures = 0;
        }
        Ok(())
    }

    fn ended(&mut self, end: End) -> Result<(), ClientError> {
        self.socket = None;
        self.outgoing.clear();
        match end {
            End::ForGood(error) => Err(error),
            End::Lost { code, reason } => {
                self.wait_before_retry(code, reason, None);
                Ok(())
            }
        }
    }

    fn wait_before_retry(&mut self, code: Option<u16>, reason: String, asked: Option<Duration>) {
        let retry_in = backoff::jittered(self.failures).max(asked.unwrap_or_default());
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(Instant::now() + retry_in);
        self.events.push_back(Event::Disconnected {
            code,
            reason,
            retry_in,
        });
    }

    async fn come_back(&mut self) -> Result<(), ClientError> {
        if let Some(at) = self.retry_at {
            sleep_until(at).await;
        }
        match self.open().await {
            Ok(()) => {
                self.events.push_back(Event::Reconnected);
                Ok(())
            }
            Err(error) if error.is_temporary() => {
                let asked = match &error {
                    ClientError::Problem { retry_after, .. } => *retry_after,
                    _ => None,
                };
                self.wait_before_retry(None, error.to_string(), asked);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn open(&mut self) -> Result<(), ClientError> {
        // Boxed, so that whoever waits for an event does not carry a handshake's state about.
        self.socket = Some(Box::pin(Socket::open(&self.server, self.heartbeat)).await?);
        self.retry_at = None;
        self.outgoing = self.streams.opening().into();
        self.answer_by = self
            .streams
            .awaiting()
            .then(|| Instant::now() + self.answer_within);
        Ok(())
    }
}
