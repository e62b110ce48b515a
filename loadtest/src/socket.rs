//! A lean WebSocket client: handshake, one subscribe, then frames counted as they come.
//!
//! In: a server's address, a token, a channel. Out: the text of each server frame, lent to a callback.
//! Always: client frames are masked (RFC 6455 demands it), server frames are read without copying.

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An open socket.
pub struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
}

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

impl Socket {
    /// Connects to `host:port` and makes the handshake at a path such as `/ws`.
    ///
    /// # Errors
    /// When the server does not upgrade the connection.
    pub async fn open(host: &str, path: &str, token: Option<&str>) -> Result<Self> {
        let mut stream = TcpStream::connect(host)
            .await
            .with_context(|| format!("connecting to {host}"))?;
        stream.set_nodelay(true)?;
        let bearer = token
            .map(|t| format!("Authorization: Bearer {t}\r\n"))
            .unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\n{bearer}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = Vec::with_capacity(4096);
        let end = loop {
            ensure!(
                stream.read_buf(&mut buffer).await? > 0,
                "the server closed during the handshake"
            );
            if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
        };
        if !buffer.starts_with(b"HTTP/1.1 101") {
            bail!("no upgrade: {}", String::from_utf8_lossy(&buffer[..end.min(200)]));
        }
        buffer.drain(..end);
        Ok(Self { stream, buffer })
    }

    /// Sends one text frame.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        self.send_frame(TEXT, text.as_bytes()).await
    }

    async fn send_frame(&mut self, opcode: u8, payload: &[u8]) -> Result<()> {
        // A mask of zeros is legal and leaves the payload as it is.
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            n @ 0..=125 => frame.push(0x80 | n as u8),
            n @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(n as u16).to_be_bytes());
            }
            _ => bail!("a client frame over 64 KiB"),
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).await?;
        Ok(())
    }

    /// Waits for the next bytes and hands every complete text frame to `each`.
    ///
    /// # Errors
    /// When the connection ends or the server closes it.
    pub async fn receive(&mut self, mut each: impl FnMut(&str)) -> Result<()> {
        let mut at = 0;
        let mut pings = Vec::new();
        while let Some((opcode, start, end)) = frame(&self.buffer[at..]) {
            let payload = &self.buffer[at + start..at + end];
            match opcode {
                TEXT => each(std::str::from_utf8(payload)?),
                PING => pings.push(payload.to_vec()),
                CLOSE => bail!("closed by the server: {}", close_text(payload)),
                _ => {}
            }
            at += end;
        }
        self.buffer.drain(..at);
        for ping in pings {
            self.send_frame(PONG, &ping).await?;
        }
        if at == 0 {
            ensure!(
                self.stream.read_buf(&mut self.buffer).await? > 0,
                "the server closed the connection"
            );
        }
        Ok(())
    }

    /// Subscribes to a channel and waits until the server says so.
    ///
    /// # Errors
    /// When the connection ends first.
    pub async fn subscribe(&mut self, tenant: &str, channel: &str) -> Result<()> {
        let frame = format!(r#"{{"type":"subscribe","tenant_id":"{tenant}","channel":"{channel}"}}"#);
        self.send(&frame).await?;
        let mut subscribed = false;
        while !subscribed {
            self.receive(|text| subscribed |= text.contains("\"type\":\"subscribed\""))
                .await?;
        }
        Ok(())
    }
}

/// Opcode and the payload's place of the first frame, when it is complete.
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (start, length) = match second & 0x7f {
        126 => (
            4,
            usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        ),
        127 => {
            let eight: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
            (10, usize::try_from(u64::from_be_bytes(eight)).ok()?)
        }
        short => (2, usize::from(short)),
    };
    (bytes.len() >= start + length).then_some((first & 0x0f, start, start + length))
}

fn close_text(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            format!(
                "{} {}",
                u16::from_be_bytes([*high, *low]),
                String::from_utf8_lossy(reason)
            )
        }
        _ => "no code".to_owned(),
    }
}
