//! One WebSocket connection: opened, read, written, closed, each within a deadline.
//!
//! In: where the server is. Out: its frames, or why the connection ended.
//! Always: pings are answered while one reads; silence longer than the heartbeat ends the connection.

use std::time::Duration;

use carillon_schemas::{
    close::should_reconnect,
    frame::{ClientFrame, ServerFrame},
    problem::Problem,
};
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        ClientRequestBuilder, Error, Message, http,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{ClientError, Connection, error::excerpt};

/// How long connecting and the handshake may take together.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a frame may take to be written.
const WRITE: Duration = Duration::from_secs(10);
/// How long a closing handshake may take.
const CLOSE: Duration = Duration::from_secs(2);
/// Largest message that is read: the contract's frames end at 128 KiB.
const MESSAGE_BYTES: usize = 256 * 1024;

/// An open connection.
#[derive(Debug)]
pub(super) struct Socket {
    inner: WebSocketStream<TcpStream>,
    heartbeat: Duration,
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// Come back.
    Lost { code: Option<u16>, reason: String },
    /// Do not.
    ForGood(ClientError),
}

impl Socket {
    pub(super) async fn open(server: &Connection, heartbeat: Duration) -> Result<Self, ClientError> {
        match timeout(CONNECT, connect(server)).await {
            Ok(Ok(inner)) => Ok(Self { inner, heartbeat }),
            Ok(Err(error)) => Err(refused(server, error)),
            Err(_) => Err(ClientError::Timeout {
                url: server.url().to_owned(),
                deadline: CONNECT,
            }),
        }
    }

    pub(super) async fn send(&mut self, frame: &ClientFrame) -> Result<(), End> {
        let text = serde_json::to_string(frame).map_err(|error| End::ForGood(error.into()))?;
        match timeout(WRITE, self.inner.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(lost(error.to_string())),
            Err(_) => Err(lost("the server takes nothing".to_owned())),
        }
    }

    /// The next frame. May be dropped and called again.
    pub(super) async fn read(&mut self) -> Result<ServerFrame, End> {
        loop {
            let message = match timeout(self.heartbeat, self.inner.next()).await {
                Err(_) => return Err(lost("nothing heard for too long".to_owned())),
                Ok(None) => return Err(lost("the connection ended".to_owned())),
                Ok(Some(Err(error))) => return Err(lost(error.to_string())),
                Ok(Some(Ok(message))) => message,
            };
            match message {
                // A frame that this version does not know is no reason to leave: fields and types are added.
                Message::Text(text) => {
                    if let Ok(frame) = ServerFrame::parse(&text) {
                        return Ok(frame);
                    }
                }
                Message::Close(frame) => return Err(closed(frame)),
                _ => {}
            }
        }
    }

    pub(super) async fn close(mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let goodbye = async {
            if self.inner.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.inner.next().await {}
            }
        };
        // Whether the server answered in time changes nothing for us: the socket is dropped.
        timeout(CLOSE, goodbye).await.unwrap_or_default();
    }
}

async fn connect(server: &Connection) -> Result<WebSocketStream<TcpStream>, Error> {
    let (host, port) = server
        .host_and_port()
        .ok_or_else(|| Error::Io(std::io::ErrorKind::InvalidInput.into()))?;
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let mut url = server.route(&["ws"]);
    // `http` to `ws` is a change between special schemes, which the URL standard permits.
    url.set_scheme("ws")
        .map_err(|()| Error::Io(std::io::ErrorKind::InvalidInput.into()))?;
    let uri: http::Uri = url.as_str().parse().map_err(http::Error::from)?;
    let mut request = ClientRequestBuilder::new(uri);
    if let Some(token) = server.token() {
        request = request.with_header("Authorization", format!("Bearer {token}"));
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES));
    let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
    Ok(socket)
}

fn refused(server: &Connection, error: Error) -> ClientError {
    match error {
        Error::Http(response) => {
            let status = response.status().as_u16();
            let retry_after = response.headers().get("retry-after");
            let retry_after = retry_after
                .and_then(|v| v.to_str().ok()?.parse().ok())
                .map(Duration::from_secs);
            let body = response.into_body().unwrap_or_default();
            match serde_json::from_slice::<Problem>(&body) {
                Ok(problem) => ClientError::Problem {
                    problem: Box::new(problem),
                    retry_after,
                },
                Err(_) => ClientError::Unexpected {
                    status,
                    excerpt: excerpt(&body),
                },
            }
        }
        Error::HttpFormat(_) => ClientError::Token,
        error => ClientError::Unreachable {
            url: server.url().to_owned(),
            reason: error.to_string(),
        },
    }
}

fn lost(reason: String) -> End {
    End::Lost { code: None, reason }
}

fn closed(frame: Option<CloseFrame>) -> End {
    let Some(frame) = frame else {
        return lost("closed by the server".to_owned());
    };
    let (code, reason) = (u16::from(frame.code), frame.reason.to_string());
    if should_reconnect(code) {
        End::Lost {
            code: Some(code),
            reason,
        }
    } else {
        End::ForGood(ClientError::Closed { code, reason })
    }
}
