//! Peers that are slow, large or unlucky, and a graceful stop.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get as on_get};
use carillon_chassis::http::ServeOptions;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Notify};

use crate::support::{exchange, get, read_all, start};

fn hello() -> Router {
    Router::new().route("/", on_get(|| async { "hello" }))
}

#[tokio::test]
async fn a_peer_that_sends_its_head_too_slowly_is_dropped() {
    let options = ServeOptions {
        header_timeout: Duration::from_millis(100),
        ..ServeOptions::default()
    };
    let (address, _tasks) = start(hello(), options).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    read_all(&mut slow).await;
    assert!(exchange(address, &get("/")).await.ends_with("hello"));
}

#[tokio::test]
async fn a_head_over_its_bound_is_refused() {
    let (address, _tasks) = start(hello(), ServeOptions::default()).await;
    let head = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    let answer = exchange(address, &head).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn bytes_that_are_no_http_end_their_own_connection_only() {
    let (address, tasks) = start(hello(), ServeOptions::default()).await;
    exchange(address, "\u{0}\u{1}\u{2} garbage\r\n\r\n").await;
    assert!(exchange(address, &get("/")).await.ends_with("hello"));
    assert_eq!(tasks.panics(), 0);
}

#[tokio::test]
async fn a_panic_in_a_request_never_takes_the_server_down() {
    async fn bad() -> &'static str {
        panic!("on purpose")
    }
    let (address, _tasks) = start(hello().route("/bad", on_get(bad)), ServeOptions::default()).await;
    assert_eq!(exchange(address, &get("/bad")).await, "");
    assert!(exchange(address, &get("/")).await.ends_with("hello"));
}

#[tokio::test]
async fn a_stop_answers_the_open_request_and_closes_idle_connections() {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let routes = {
        let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
        let slow = move || {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            async move {
                begun.notify_one();
                go.notified().await;
                "late"
            }
        };
        hello().route("/slow", on_get(slow))
    };
    let (address, tasks) = start(routes, ServeOptions::default()).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut open = TcpStream::connect(address).await.unwrap();
    open.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    begun.notified().await;
    tasks.shutdown().cancel();
    read_all(&mut idle).await;
    go.notify_one();
    assert!(read_all(&mut open).await.ends_with("late"));
    assert!(tasks.close(Duration::from_secs(5)).await.is_empty());
}

#[tokio::test]
async fn an_idle_kept_alive_connection_outlives_the_head_timeout() {
    use tokio::io::AsyncReadExt;
    let options = ServeOptions {
        header_timeout: Duration::from_millis(50),
        ..ServeOptions::default()
    };
    let (address, _tasks) = start(hello(), options).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 512];
    assert!(stream.read(&mut answer).await.unwrap() > 0);
    let closed = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut answer)).await;
    assert!(closed.is_err(), "closed while idle");
}
