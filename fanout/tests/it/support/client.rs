//! A client that speaks WebSocket and nothing else.
//!
//! In: frames as text. Out: frames as values, with a deadline on each.
//! Always: nothing is skipped silently: what a test does not expect fails it.

use std::{net::SocketAddr, time::Duration};

use carillon_schemas::{
    cursor::Cursor,
    frame::{ErrorCode, NotificationFrame, ServerFrame},
};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use super::PATIENCE;

/// A connected client.
pub(crate) struct Client {
    pub(crate) ws: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) protocol: Option<String>,
}

/// Why a handshake failed.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: serde_json::Value,
}

impl Client {
    /// Connects with this path and query and these headers.
    pub(crate) async fn connect(
        addr: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Refused> {
        let mut request = format!("ws://{addr}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let connecting = tokio_tungstenite::connect_async(request);
        match tokio::time::timeout(PATIENCE, connecting)
            .await
            .expect("a handshake in time")
        {
            Ok((ws, response)) => {
                let protocol = response.headers().get("sec-websocket-protocol");
                let protocol = protocol.map(|p| p.to_str().unwrap().to_owned());
                Ok(Self { ws, protocol })
            }
            Err(Error::Http(response)) => Err(Refused {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: serde_json::from_slice(response.body().as_deref().unwrap_or(b"null")).unwrap(),
            }),
            Err(error) => panic!("{error}"),
        }
    }

    /// Connects with a token in the header.
    pub(crate) async fn bearer(addr: SocketAddr, token: &str) -> Result<Self, Refused> {
        Self::connect(addr, "/ws", &[("authorization", &format!("Bearer {token}"))]).await
    }

    /// Sends a text.
    pub(crate) async fn say(&mut self, text: &str) {
        self.ws.send(Message::text(text)).await.unwrap();
    }

    /// The next message that is not a ping.
    pub(crate) async fn message(&mut self) -> Message {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.ws.next());
            match next
                .await
                .expect("a message in time")
                .expect("an open socket")
                .unwrap()
            {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> ServerFrame {
        match self.message().await {
            Message::Text(text) => ServerFrame::parse(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The next frame is `subscribed`: its stream, cursor and whether all was recovered.
    pub(crate) async fn subscribed(&mut self) -> (String, Cursor, bool) {
        match self.frame().await {
            ServerFrame::Subscribed {
                stream,
                cursor,
                recovered,
                ..
            } => (stream.to_string(), cursor, recovered),
            other => panic!("{other:?}"),
        }
    }

    /// The next frame is a notification, bridges aside.
    pub(crate) async fn notification(&mut self) -> NotificationFrame {
        loop {
            match self.frame().await {
                ServerFrame::Skipped { .. } => {}
                ServerFrame::Notification(notification) => return *notification,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The content of the next frame, which is a notification.
    pub(crate) async fn content(&mut self) -> String {
        self.notification().await.delivery.envelope.content
    }

    /// The next frame is an error.
    pub(crate) async fn error(&mut self) -> (ErrorCode, Option<String>) {
        match self.frame().await {
            ServerFrame::Error { code, id, .. } => (code, id),
            other => panic!("{other:?}"),
        }
    }

    /// Nothing was sent before the answer to a ping.
    pub(crate) async fn nothing_more(&mut self) {
        self.say(r#"{"type":"ping","id":"quiet"}"#).await;
        loop {
            match self.frame().await {
                ServerFrame::Skipped { .. } => {}
                ServerFrame::Pong { id } => return assert_eq!(id.as_deref(), Some("quiet")),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The close code, after whatever else comes before it.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.ws.next());
            match next.await.expect("a close in time") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Whether nothing comes for a moment: for what cannot be waited for otherwise.
    pub(crate) async fn is_quiet(&mut self, for_so_long: Duration) -> bool {
        tokio::time::timeout(for_so_long, self.ws.next()).await.is_err()
    }
}

/// The error and the close code that a new session is greeted with.
pub(crate) async fn closed_with(client: &mut Client) -> (ErrorCode, u16) {
    let (code, _) = client.error().await;
    (code, client.closed().await)
}
