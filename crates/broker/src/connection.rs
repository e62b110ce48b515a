//! A connection: frames in, answers out, in the order of the requests.
//!
//! In: a socket. Out: answers. Always: one request is worked on at a time, except that produce requests behind
//! one another are appended at once and share a sync; a peer that does not read its answers is not read from,
//! and after a while closed.

use std::{collections::VecDeque, io, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, OwnedSemaphorePermit},
    time::timeout,
};
use tracing::debug;

use crate::{
    handlers::{self, Node, produce::Pending},
    protocol::{Incoming, ProtocolError},
    stats::add,
};

/// A read buffer grows by this much at a time, as bytes arrive, whatever a frame's length says.
const READ_BYTES: usize = 64 * 1024;

/// What one connection keeps between requests.
pub(crate) struct Peer {
    pub(crate) node: Arc<Node>,
    /// Woken when partitions that it waits on have more.
    pub(crate) more: Arc<Notify>,
    /// Where the peer connects from.
    pub(crate) host: String,
}

/// An answer, ready to be written.
pub(crate) struct Answer {
    /// `None` when the request wants none.
    pub(crate) frame: Option<Bytes>,
    /// Held until the bytes are written.
    pub(crate) memory: Option<OwnedSemaphorePermit>,
}

/// Why a connection ended, other than by the peer.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("the peer did not read its answers")]
    Slow,
}

/// Serves a connection until either side ends it.
pub(crate) async fn serve(node: Arc<Node>, socket: TcpStream) {
    let host = socket.peer_addr().map(|a| a.ip().to_string()).unwrap_or_default();
    // Small answers must not wait for an acknowledgement.
    let _ = socket.set_nodelay(true);
    let (reader, writer) = socket.into_split();
    let peer = Peer {
        node,
        more: Arc::default(),
        host,
    };
    let mut connection = Connection {
        reader,
        writer,
        buffer: BytesMut::new(),
        appended: VecDeque::new(),
    };
    match connection.run(&peer).await {
        Ok(()) | Err(Ended::Io(_)) => {}
        Err(error) => {
            if matches!(error, Ended::Protocol(_)) {
                add(&peer.node.stats.protocol_errors, 1);
            }
            debug!(peer = %peer.host, error = %error, "connection closed");
        }
    }
}

struct Connection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    buffer: BytesMut,
    /// Produce requests that were appended and wait for their sync. Bounded by `limits.pipelined`.
    appended: VecDeque<(Incoming, Pending)>,
}

impl Connection {
    async fn run(&mut self, peer: &Peer) -> Result<(), Ended> {
        loop {
            let full = self.appended.len() >= peer.node.limits.pipelined;
            if let Some(frame) = (!full).then(|| self.frame(peer)).transpose()?.flatten() {
                self.take(peer, frame).await?;
                continue;
            }
            // Nothing whole to read: settle what was appended, and read on meanwhile.
            match self.appended.front_mut() {
                None => {
                    if self.reader.read_buf(&mut self.buffer).await? == 0 {
                        return Ok(());
                    }
                }
                Some((_, pending)) => tokio::select! {
                    biased;
                    () = pending.settled() => self.acknowledge(peer).await?,
                    read = self.reader.read_buf(&mut self.buffer), if !full => {
                        if read? == 0 {
                            return Ok(());
                        }
                    }
                },
            }
        }
    }

    /// The next whole frame, if it is here.
    fn frame(&mut self, peer: &Peer) -> Result<Option<Bytes>, ProtocolError> {
        let Some((head, rest)) = self.buffer.split_first_chunk::<4>() else {
            self.buffer.reserve(READ_BYTES.min(4096));
            return Ok(None);
        };
        let length = usize::try_from(i32::from_be_bytes(*head)).map_err(|_| ProtocolError::Malformed)?;
        let limits = &peer.node.limits;
        let produce = rest.first_chunk::<2>().is_none_or(|key| *key == [0, 0]);
        if length
            > if produce {
                limits.produce_bytes
            } else {
                limits.request_bytes
            }
        {
            return Err(ProtocolError::TooLarge(length));
        }
        if rest.len() < length {
            let missing = length - rest.len();
            self.buffer
                .reserve(missing.min(READ_BYTES.max(self.buffer.len())));
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    async fn take(&mut self, peer: &Peer, frame: Bytes) -> Result<(), Ended> {
        add(&peer.node.stats.requests, 1);
        let request = Incoming::parse(frame)?;
        if request.api == ApiKey::Produce {
            let pending = handlers::produce::append(peer, &request).await?;
            self.appended.push_back((request, pending));
            return Ok(());
        }
        while let Some((_, pending)) = self.appended.front_mut() {
            pending.settled().await;
            self.acknowledge(peer).await?;
        }
        let answer = Box::pin(handlers::handle(peer, &request)).await?;
        self.write(peer, answer).await
    }

    /// Answers the first of the appended requests, and those behind it that are settled as well.
    async fn acknowledge(&mut self, peer: &Peer) -> Result<(), Ended> {
        let mut frames = BytesMut::new();
        while self
            .appended
            .front_mut()
            .is_some_and(|(_, pending)| pending.is_settled())
        {
            if let Some((request, pending)) = self.appended.pop_front()
                && let Some(frame) = pending.answer(&request)?
            {
                frames.extend_from_slice(&frame);
            }
        }
        let frame = (!frames.is_empty()).then(|| frames.freeze());
        self.write(peer, Answer { frame, memory: None }).await
    }

    async fn write(&mut self, peer: &Peer, answer: Answer) -> Result<(), Ended> {
        let Some(frame) = answer.frame else { return Ok(()) };
        let written = timeout(peer.node.limits.write_timeout, self.writer.write_all(&frame));
        written.await.map_err(|_| Ended::Slow)??;
        drop(answer.memory);
        Ok(())
    }
}
