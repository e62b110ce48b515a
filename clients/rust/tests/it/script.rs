//! The scripted server: one connection at a time, answered by hand.
//!
//! In: what the client sends. Out: what the test says. Always: a test and its server run as one future, so
//! that nothing outlives the test.

use carillon_client::Connection;
use carillon_schemas::{cursor::Cursor, frame::ClientFrame};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// A server that waits for its script.
pub(crate) struct Server {
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn start() -> (Self, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (
            Self { listener },
            Connection::new(&url).unwrap().with_token("canary"),
        )
    }

    /// The next WebSocket, after its handshake.
    pub(crate) async fn socket(&self) -> Socket {
        let (stream, _) = self.listener.accept().await.unwrap();
        Socket(accept_async(stream).await.unwrap())
    }

    /// Answers one HTTP request; gives what was asked.
    pub(crate) async fn answer(&self, status: &str, headers: &str, body: &str) -> String {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let asked = request(&mut stream).await;
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        asked
    }
}

/// Head and body of a request.
async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| {
                l.to_lowercase()
                    .strip_prefix("content-length:")?
                    .trim()
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0_usize) {
                return text;
            }
        }
        assert!(
            stream.read_buf(&mut bytes).await.unwrap() > 0,
            "a request ended in the middle: {text}"
        );
    }
}

/// One WebSocket, from the server's side.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// The next frame of the client; `None` when it is gone.
    pub(crate) async fn hear(&mut self) -> Option<ClientFrame> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Some(ClientFrame::parse(&text).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Answers a subscribe frame of the channel `a` from this place on.
    pub(crate) async fn subscribed(&mut self, offset: i64, id: Option<String>) {
        let (cursor, id) = (at(offset), id.unwrap());
        self.say(&format!(
            r#"{{"type":"subscribed","stream":"channel:a","channel":"a","cursor":"{cursor}","recovered":true,"id":"{id}"}}"#
        ))
        .await;
    }

    pub(crate) async fn notify(&mut self, offset: i64) {
        let (cursor, prev, id) = (at(offset), at(offset - 1), uuid(offset));
        self.say(&format!(
            r#"{{"type":"notification","stream":"channel:a","cursor":"{cursor}","prev":"{prev}","delivery":1,"notification_id":"{id}","tenant_id":"t","channel":"a","correlation_id":"c","accepted_at":1,"content":"{offset}"}}"#
        ))
        .await;
    }

    pub(crate) async fn close(mut self, code: u16) {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: "as scripted".into(),
        };
        self.0.close(Some(frame)).await.unwrap();
        while let Some(Ok(_)) = self.0.next().await {}
    }
}

pub(crate) fn at(offset: i64) -> Cursor {
    Cursor {
        generation: 1,
        shard: 0,
        offset,
    }
}

pub(crate) fn uuid(offset: i64) -> String {
    format!("00000000-0000-7000-8000-{offset:012}")
}
