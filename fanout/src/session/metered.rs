//! A byte stream that knows how much came and went.
//!
//! In: a connection. Out: the same, with counts. Always: one message takes only so many bytes of the wire,
//! however small its fragments are, so that a flood of empty ones ends as an error.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The stream.
pub(crate) struct Metered<S> {
    inner: S,
    most_per_message: usize,
    read: usize,
    written: u64,
}

impl<S> Metered<S> {
    /// At most so many bytes per message.
    pub(crate) fn new(inner: S, most_per_message: usize) -> Self {
        Self {
            inner,
            most_per_message,
            read: 0,
            written: 0,
        }
    }

    /// A message came to its end.
    pub(crate) fn message_ended(&mut self) {
        self.read = 0;
    }

    /// Bytes that the peer's side of the connection took.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The connection itself.
    pub(crate) fn inner(&mut self) -> &mut S {
        &mut self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read > self.most_per_message {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.read += buf.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.written += n as u64;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
