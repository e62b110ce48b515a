//! The same client for a thread of its own.
//!
//! In: prepared request bytes. Out: status codes. Always: a read or a write that takes longer than the
//! deadline fails.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Head, body};

/// How long an answer may take; above every deadline of the server's.
const DEADLINE: Duration = Duration::from_secs(30);

/// A connection to a server on loopback that blocks its thread.
pub struct BlockingConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl BlockingConnection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(host: &str) -> Result<Self> {
        let stream = TcpStream::connect(host).with_context(|| format!("connecting to {host}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4096),
        })
    }

    /// Sends a request and reads its response; gives the status.
    ///
    /// # Errors
    /// When the connection ends, an answer takes too long, or the response is no HTTP.
    pub fn send(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        loop {
            self.read_some()?;
            if let Some(head) = Head::read(&self.buffer)? {
                while self.buffer.len() < head.length {
                    self.read_some()?;
                }
                return Ok(head.status);
            }
        }
    }

    /// The body of the last response.
    pub fn body(&self) -> &[u8] {
        body(&self.buffer)
    }

    fn read_some(&mut self) -> Result<()> {
        let mut chunk = [0; 4096];
        let read = self.stream.read(&mut chunk).context("waiting for an answer")?;
        ensure!(read > 0, "the server closed the connection");
        self.buffer.extend_from_slice(&chunk[..read]);
        Ok(())
    }
}
