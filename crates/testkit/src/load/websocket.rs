//! A WebSocket connection, written and read by hand: the witness trusts no client of ours.
//!
//! In: an address, a token, texts. Out: the server's texts. Always: frames of a client are masked, pings are answered,
//! silence longer than a heartbeat ends the connection.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Silence that ends a connection; the server pings every 20 s.
const HEARTBEAT: Duration = Duration::from_secs(45);
/// How long connecting and the handshake may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest message that is read.
const MESSAGE_BYTES: usize = 256 * 1024;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// An open connection.
pub(super) struct WebSocket {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl WebSocket {
    /// Connects to `host:port` and asks for `/ws`.
    pub(super) async fn open(host: &str, token: &str) -> io::Result<Self> {
        timeout(CONNECT, handshake(host, token)).await?
    }

    pub(super) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.send_frame(TEXT, text.as_bytes()).await
    }

    /// The next text; none when the server closed in order.
    pub(super) async fn read(&mut self) -> io::Result<Option<String>> {
        loop {
            while let Some((opcode, from, to)) = frame(&self.buffer)? {
                let payload = self.buffer[from..to].to_vec();
                self.buffer.drain(..to);
                match opcode {
                    TEXT => return String::from_utf8(payload).map(Some).map_err(io::Error::other),
                    PING => self.send_frame(PONG, &payload).await?,
                    CLOSE => return Ok(None),
                    _ => {}
                }
            }
            if timeout(HEARTBEAT, self.stream.read_buf(&mut self.buffer)).await?? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn send_frame(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        // A mask of zeros is legal and leaves the payload as it is.
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            n @ 0..=125 => frame.push(0x80 | n as u8),
            n => {
                let length = u16::try_from(n).map_err(io::Error::other)?;
                frame.push(0x80 | 126);
                frame.extend_from_slice(&length.to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).await
    }
}

async fn handshake(host: &str, token: &str) -> io::Result<WebSocket> {
    let mut stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = Vec::with_capacity(4096);
    let end = loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
    };
    if !buffer.starts_with(b"HTTP/1.1 101") {
        let answer = String::from_utf8_lossy(&buffer[..end.min(200)]).into_owned();
        return Err(io::Error::other(answer));
    }
    buffer.drain(..end);
    Ok(WebSocket { stream, buffer })
}

/// Opcode and the payload's place of the first frame, when it is complete. The server sends each message in one.
fn frame(bytes: &[u8]) -> io::Result<Option<(u8, usize, usize)>> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let (from, length) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (10, usize::try_from(length).map_err(io::Error::other)?)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (2, usize::from(short)),
    };
    if length > MESSAGE_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let to = from + length;
    Ok((bytes.len() >= to).then_some((first & 0x0f, from, to)))
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn a_frame_is_found_when_it_is_whole() {
        assert_eq!(frame(&[0x81, 2, b'h', b'i', 9]).unwrap(), Some((1, 2, 4)));
        let mut long = vec![0x81, 126, 1, 0];
        long.extend([7; 256]);
        assert_eq!(frame(&long).unwrap(), Some((1, 4, 260)));
        for end in 0..260 {
            assert_eq!(frame(&long[..end]).unwrap(), None, "{end}");
        }
        assert!(frame(&[0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0]).is_err());
    }
}
