//! Peers that do not play by the rules.

use std::time::Duration;

use carillon_schemas::frame::ServerFrame;
use futures_util::SinkExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, PATIENCE, Stand};

/// A socket whose frames are made by hand.
struct Raw(TcpStream);

impl Raw {
    async fn connect(stand: &Stand) -> Self {
        let mut socket = TcpStream::connect(stand.addr).await.unwrap();
        let head = format!(
            "GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nauthorization: Bearer \
             {}\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            stand.token("acme", "mallory")
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut raw = Self(socket);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(raw.0.read_u8().await.unwrap());
        }
        assert!(
            head.starts_with(b"HTTP/1.1 101"),
            "{}",
            String::from_utf8_lossy(&head)
        );
        raw
    }

    /// A masked frame (with a mask of zeros).
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            n @ 0..126 => frame.push(0x80 | n as u8),
            n @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((n as u16).to_be_bytes());
            }
            n => {
                frame.push(0x80 | 127);
                frame.extend((n as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        frame
    }

    /// Sends until the server has enough; the number of its close frame.
    async fn flood(mut self, bytes: &[u8]) -> u16 {
        let (mut read, mut write) = self.0.split();
        let flood = async {
            while write.write_all(bytes).await.is_ok() {
                tokio::task::yield_now().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            code = close_code(&mut read) => code,
            () = flood => unreachable!(),
        }
    }

    async fn closed_after(mut self, bytes: &[u8]) -> u16 {
        self.0.write_all(bytes).await.unwrap();
        close_code(&mut self.0.split().0).await
    }
}

/// Reads the server's frames up to its close frame.
async fn close_code(read: &mut (impl AsyncReadExt + Unpin)) -> u16 {
    let reading = async {
        loop {
            let (first, len) = (read.read_u8().await.unwrap(), read.read_u8().await.unwrap());
            let len = if len == 126 {
                read.read_u16().await.unwrap()
            } else {
                len.into()
            };
            let mut payload = vec![0; len.into()];
            read.read_exact(&mut payload).await.unwrap();
            if first == 0x88 {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("a close frame in time")
}

/// That nobody else is disturbed: the node still serves.
async fn still_serves(stand: &Stand) {
    let mut client = stand.listener("acme", "ann", "alerts").await;
    stand.publish("acme", "alerts", "still here").await;
    assert_eq!(client.content().await, "still here");
}

#[tokio::test]
async fn broken_frames_close_with_4502_at_once() {
    let stand = Stand::start().await;
    let unmasked = [0x81, 0x02, b'{', b'}'];
    let oversized = Raw::frame(0x81, &vec![b' '; 70_000]);
    for (what, bytes) in [
        ("garbage", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8".to_vec()),
        ("unmasked", unmasked.to_vec()),
        ("reserved bit", Raw::frame(0xc1, b"{}")),
        ("reserved opcode", Raw::frame(0x83, b"{}")),
        ("no UTF-8", Raw::frame(0x81, &[0xff, 0xfe])),
        ("a continuation of nothing", Raw::frame(0x80, b"{}")),
        ("a fragmented ping", Raw::frame(0x09, b"")),
        ("a long ping", Raw::frame(0x89, &[0; 126])),
        ("too large", oversized),
    ] {
        let code = Raw::connect(&stand).await.closed_after(&bytes).await;
        assert_eq!(code, 4502, "{what}");
    }
    still_serves(&stand).await;
    stand.end().await;
}

#[tokio::test]
async fn a_message_of_many_fragments_that_is_too_large_closes_with_4502() {
    let stand = Stand::start().await;
    let mut bytes = Raw::frame(0x01, &[b' '; 30_000]);
    bytes.extend(Raw::frame(0x00, &[b' '; 30_000]));
    bytes.extend(Raw::frame(0x00, &[b' '; 30_000]));
    assert_eq!(Raw::connect(&stand).await.closed_after(&bytes).await, 4502);
    stand.end().await;
}

#[tokio::test]
async fn an_endless_message_of_empty_fragments_closes_with_4502() {
    let stand = Stand::start().await;
    let mut raw = Raw::connect(&stand).await;
    raw.0.write_all(&Raw::frame(0x01, b"")).await.unwrap();
    let empty = Raw::frame(0x00, b"").repeat(100);
    assert_eq!(raw.flood(&empty).await, 4502);
    still_serves(&stand).await;
    stand.end().await;
}

#[tokio::test]
async fn a_flood_of_pings_closes_with_4005() {
    let stand = Stand::start().await;
    let pings = Raw::frame(0x89, b"x").repeat(100);
    assert_eq!(Raw::connect(&stand).await.flood(&pings).await, 4005);
    still_serves(&stand).await;
    stand.end().await;
}

#[tokio::test]
async fn a_peer_that_does_not_answer_pings_is_closed_with_4004() {
    let stand = Stand::configured(|config| {
        config.session.ping_every = Duration::from_millis(100);
        config.session.pong_timeout = Duration::from_millis(200);
    })
    .await;
    let mut silent = Raw::connect(&stand).await;
    assert_eq!(close_code(&mut silent.0.split().0).await, 4004);
    // Who answers stays.
    let mut client = stand.client("acme", "ann").await;
    let alive = async {
        loop {
            client.message().await;
        }
    };
    let rounds = Duration::from_millis(700);
    assert!(
        tokio::time::timeout(rounds, alive).await.is_err(),
        "closed although it answered"
    );
    stand.end().await;
}

#[tokio::test]
async fn a_peer_that_asks_and_never_reads_the_answers_is_closed() {
    let stand = Stand::configured(|config| {
        config.session.queue_answers = 150;
        config.session.inbound_per_second = 1_000_000;
        config.session.inbound_burst = 1_000_000;
        config.session.close_timeout = Duration::from_millis(300);
    })
    .await;
    // A hundred answers to each frame.
    let names: Vec<String> = (0..100).map(|n| format!("\"{}{n}\"", "x".repeat(100))).collect();
    let subscribe = format!(r#"{{"type":"subscribe","channels":[{}]}}"#, names.join(","));
    let subscribe = Raw::frame(0x81, subscribe.as_bytes());
    let mut raw = Raw::connect(&stand).await;
    let flood = async { while raw.0.write_all(&subscribe).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, flood)
        .await
        .expect("the connection to end");
    let closed = "carillon_fanout_sessions_closed_total{code=\"4003\"}";
    stand.until_metric(closed, 1.0).await;
    still_serves(&stand).await;
    stand.end().await;
}

#[tokio::test]
async fn a_peer_that_is_gone_in_the_middle_of_a_frame_leaves_no_session() {
    let stand = Stand::start().await;
    let mut raw = Raw::connect(&stand).await;
    raw.0
        .write_all(&Raw::frame(0x81, &[b' '; 1_000])[..500])
        .await
        .unwrap();
    drop(raw);
    stand
        .until("no session", || stand.metric("carillon_fanout_sessions") == 0.0)
        .await;
    stand.end().await;
}

#[tokio::test]
async fn a_clients_own_close_is_answered() {
    let stand = Stand::start().await;
    let mut client: Client = stand.client("acme", "ann").await;
    client.ws.send(Message::Close(None)).await.unwrap();
    assert!(matches!(client.message().await, Message::Close(_)));
    stand
        .until("no session", || stand.metric("carillon_fanout_sessions") == 0.0)
        .await;
    stand.end().await;
}

#[tokio::test]
async fn fragments_and_pings_between_them_are_one_message() {
    let stand = Stand::start().await;
    let mut raw = Raw::connect(&stand).await;
    let text = br#"{"type":"ping","id":"7"}"#;
    let mut bytes = Raw::frame(0x01, &text[..5]);
    bytes.extend(Raw::frame(0x89, b"between"));
    bytes.extend(Raw::frame(0x80, &text[5..]));
    raw.0.write_all(&bytes).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let (first, len) = (raw.0.read_u8().await.unwrap(), raw.0.read_u8().await.unwrap());
        let mut payload = vec![0; len.into()];
        raw.0.read_exact(&mut payload).await.unwrap();
        seen.push((first, payload));
    }
    assert_eq!(seen[1], (0x8a, b"between".to_vec()));
    let pong = ServerFrame::parse(std::str::from_utf8(&seen[2].1).unwrap()).unwrap();
    assert!(matches!(pong, ServerFrame::Pong { id } if id.as_deref() == Some("7")));
    stand.end().await;
}
