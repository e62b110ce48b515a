//! The socket: messages of one WebSocket, in both directions, by one task.
//!
//! In: a send queue to write, bytes to read. Out: events for the session.
//! Always: everything queued is written before one flush; reading goes on while writing is stuck; nothing
//! outside this file knows the WebSocket library's types.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use carillon_schemas::close::CloseCode;
use futures_util::{Sink, Stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use super::{
    metered::Metered,
    send_queue::{Item, Next, SendQueue},
    unflushed::Unflushed,
    witness::Witness,
};
use crate::{SessionLimits, frame::Text};

/// The library's read buffer, allocated per socket at once.
const READ_BUFFER: usize = 1024;
/// Written to the connection when so much has gathered, or at the flush.
const WRITE_BUFFER: usize = 16 * 1024;
/// Room in the library's write buffer for one more frame and its control replies.
const WRITE_BUFFER_MOST: usize = WRITE_BUFFER + 256 * 1024;
/// Framing on top of a message's payload that is accepted.
const FRAMING: usize = 16 * 1024;
/// Messages written before other tasks get their turn.
const BURST: usize = 1024;
/// Bytes of a peer that does not stop that are thrown away after the close frame.
const DISCARD_MOST: usize = 1024 * 1024;

/// What came of a look at the socket.
#[derive(Debug)]
pub(crate) enum Event {
    /// A text message.
    Text(Text),
    /// A binary message.
    Binary,
    /// A ping or pong: the peer lives.
    Control,
    /// The peer broke the protocol.
    Broken,
    /// The connection is over.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Messages go both ways.
    Open,
    /// The peer said goodbye: the library answers it.
    PeerClosed,
    /// Our close frame is being written.
    Closing,
    /// It is written; what the peer still sends is thrown away until it hangs up.
    Leaving { discarded: usize },
}

/// One WebSocket.
pub(crate) struct Socket<S> {
    ws: WebSocketStream<Metered<S>>,
    phase: Phase,
    readable: bool,
    dirty: bool,
    ping: Ping,
    unflushed: Unflushed,
    stuck: Option<(Instant, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ping {
    None,
    Wanted,
    Written,
    Sent(Instant),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// A socket on an upgraded connection.
    pub(crate) async fn new(connection: S, limits: &SessionLimits) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER_MOST)
            .max_message_size(Some(limits.inbound_bytes))
            .max_frame_size(Some(limits.inbound_bytes));
        let metered = Metered::new(connection, limits.inbound_bytes + FRAMING);
        Self {
            ws: WebSocketStream::from_raw_socket(metered, Role::Server, Some(config)).await,
            phase: Phase::Open,
            readable: true,
            dirty: false,
            ping: Ping::None,
            unflushed: Unflushed::default(),
            stuck: None,
        }
    }

    /// Writes what is queued and reads what came. The witness is told about each message that the writer takes,
    /// and about what the connection has taken whole.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        queue: &SendQueue,
        witness: Witness<'_>,
    ) -> Poll<Event> {
        if self.phase == Phase::Open && self.write(cx, queue, witness).is_err() {
            return Poll::Ready(Event::Ended);
        }
        if matches!(self.phase, Phase::Open | Phase::Closing) && self.flush(cx, witness).is_err() {
            return Poll::Ready(Event::Ended);
        }
        match self.phase {
            Phase::Open if self.readable => self.read(cx),
            // Reading on is how the library answers the peer's close frame.
            Phase::PeerClosed => self.read(cx),
            Phase::Open | Phase::Closing => Poll::Pending,
            Phase::Leaving { .. } => self.leave(cx),
        }
    }

    /// Hears nothing more of the peer.
    pub(crate) fn stop_reading(&mut self) {
        self.readable = false;
    }

    /// Asks the peer for a pong, unless one is due already.
    pub(crate) fn ping(&mut self) {
        if self.ping == Ping::None {
            self.ping = Ping::Wanted;
        }
    }

    /// Since when a ping is on the wire without an answer.
    pub(crate) fn pinged_at(&self) -> Option<Instant> {
        match self.ping {
            Ping::Sent(at) => Some(at),
            _ => None,
        }
    }

    /// Since when the connection has taken no byte although there are some.
    pub(crate) fn stuck_since(&mut self) -> Option<Instant> {
        let written = self.ws.get_ref().written();
        let (since, before) = self.stuck.as_mut()?;
        if *before != written {
            (*since, *before) = (Instant::now(), written);
        }
        Some(*since)
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        queue: &SendQueue,
        witness: Witness<'_>,
    ) -> Result<(), WsError> {
        for _ in 0..BURST {
            match Pin::new(&mut self.ws).poll_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(()),
            }
            let message = if self.ping == Ping::Wanted {
                self.ping = Ping::Written;
                Message::Ping(Bytes::new())
            } else {
                match queue.next(cx) {
                    Next::Message(item) => self.hand_over(item, witness),
                    Next::Close(code) => {
                        self.phase = Phase::Closing;
                        close_frame(code)
                    }
                    Next::Nothing => return Ok(()),
                }
            };
            self.dirty = true;
            Pin::new(&mut self.ws).start_send(message)?;
            if self.phase == Phase::Closing {
                return Ok(());
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn hand_over(&mut self, mut item: Item, witness: Witness<'_>) -> Message {
        // All that was handed over before is in the library's buffer or in the connection.
        while let Some(tally) = self.unflushed.displaced(WRITE_BUFFER_MOST) {
            witness.took(&tally);
        }
        self.unflushed.push(&mut item);
        witness.taken(item.kind);
        Message::Text(item.text)
    }

    fn flush(&mut self, cx: &mut Context<'_>, witness: Witness<'_>) -> Result<(), WsError> {
        if !self.dirty {
            return Ok(());
        }
        match Pin::new(&mut self.ws).poll_flush(cx) {
            Poll::Ready(flushed) => flushed?,
            Poll::Pending => {
                let so_far = self.ws.get_ref().written();
                self.stuck.get_or_insert((Instant::now(), so_far));
                return Ok(());
            }
        }
        (self.dirty, self.stuck) = (false, None);
        witness.written(self.unflushed.flushed(|tally| witness.took(tally)));
        if self.ping == Ping::Written {
            self.ping = Ping::Sent(Instant::now());
        }
        if self.phase == Phase::Closing {
            self.phase = Phase::Leaving { discarded: 0 };
        }
        Ok(())
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            let event = match ready!(Pin::new(&mut self.ws).poll_next(cx)) {
                None => Event::Ended,
                Some(Ok(message)) => {
                    self.ws.get_mut().message_ended();
                    self.ping = match self.ping {
                        Ping::Sent(_) => Ping::None,
                        other => other,
                    };
                    match message {
                        Message::Text(text) => Event::Text(text),
                        Message::Binary(_) => Event::Binary,
                        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Event::Control,
                        Message::Close(_) => {
                            self.phase = Phase::PeerClosed;
                            continue;
                        }
                    }
                }
                Some(Err(error)) => {
                    self.readable = false;
                    if is_violation(&error) {
                        Event::Broken
                    } else {
                        Event::Ended
                    }
                }
            };
            return Poll::Ready(event);
        }
    }

    /// Half-closes and throws away what still comes: a connection that is dropped with unread bytes is
    /// reset, and the close frame may be lost with it.
    fn leave(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Phase::Leaving { mut discarded } = self.phase else {
            return Poll::Pending;
        };
        let connection = self.ws.get_mut().inner();
        if Pin::new(&mut *connection).poll_shutdown(cx).is_pending() {
            return Poll::Pending;
        }
        let mut space = [0u8; 1024];
        let over = loop {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut *connection).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => break true,
                Poll::Ready(Ok(())) => discarded += buf.filled().len(),
                Poll::Ready(Err(_)) => break true,
                Poll::Pending => break false,
            }
            if discarded > DISCARD_MOST {
                break true;
            }
        };
        self.phase = Phase::Leaving { discarded };
        if over {
            Poll::Ready(Event::Ended)
        } else {
            Poll::Pending
        }
    }
}

fn close_frame(code: CloseCode) -> Message {
    Message::Close(Some(CloseFrame {
        code: code.number().into(),
        reason: Text::from_static(code.reason()),
    }))
}

/// Whether the peer broke a rule, rather than the connection having ended.
fn is_violation(error: &WsError) -> bool {
    match error {
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => false,
        WsError::Protocol(_) | WsError::Capacity(_) | WsError::Utf8(_) => true,
        WsError::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        _ => false,
    }
}
