//! A lean HTTP/1.1 client on one kept-alive connection.
//!
//! In: prepared request bytes. Out: status codes. Always: one request at a time; a response is read whole
//! before the next request is sent.

mod blocking;

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub use blocking::BlockingConnection;

/// A connection to a server on loopback.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The bytes of a POST with a JSON body.
pub fn post(host: &str, path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let bearer = token
        .map(|t| format!("Authorization: Bearer {t}\r\n"))
        .unwrap_or_default();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\n{bearer}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Connection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(host: &str) -> Result<Self> {
        let stream = TcpStream::connect(host)
            .await
            .with_context(|| format!("connecting to {host}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4096),
        })
    }

    /// Sends a request and reads its response; gives the status.
    ///
    /// # Errors
    /// When the connection ends or the response is no HTTP.
    pub async fn send(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server closed the connection");
            }
            if let Some(head) = Head::read(&self.buffer)? {
                self.read_up_to(head.length).await?;
                return Ok(head.status);
            }
        }
    }

    /// The body of the last response.
    pub fn body(&self) -> &[u8] {
        body(&self.buffer)
    }

    async fn read_up_to(&mut self, length: usize) -> Result<()> {
        while self.buffer.len() < length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server closed the connection inside a response");
            }
        }
        Ok(())
    }
}

/// What a response's head says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Of the whole response in bytes.
    length: usize,
}

impl Head {
    /// `None` while the head is not complete.
    fn read(bytes: &[u8]) -> Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(bytes)? else {
            return Ok(None);
        };
        let length = response
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case("content-length"))
            .and_then(|h| std::str::from_utf8(h.value).ok()?.parse::<usize>().ok())
            .context("a response without Content-Length")?;
        Ok(Some(Self {
            status: response.code.unwrap_or(0),
            length: head + length,
        }))
    }
}

fn body(response: &[u8]) -> &[u8] {
    let end = response
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map_or(0, |at| at + 4);
    &response[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete_and_not_before() {
        let response = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(Head::read(&response[..20]).unwrap(), None);
        let head = Head::read(response).unwrap().unwrap();
        assert_eq!((head.status, head.length), (202, response.len()));
        assert_eq!(body(response), b"{}");
    }

    #[test]
    fn a_response_of_unknown_length_is_an_error() {
        assert!(Head::read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
