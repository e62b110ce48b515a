//! The routes behind a real socket: what stays open, what is closed, and callers that hang up.

use std::time::Duration;

use carillon_chassis::http::{ServeOptions, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{PATIENCE, Stage};

const BODY: &str = r#"{"content":"x"}"#;

/// A socket to the stage's routes, and the head of a submit up to its length.
async fn connect(stage: &Stage) -> (TcpStream, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (routes, tasks) = (stage.routes.clone(), stage.tasks.clone());
    stage.tasks.spawn("server", async move {
        serve(listener, routes, &tasks, ServeOptions::default()).await;
    });
    let token = stage.token("acme", "publish");
    let head = format!("POST /v1/notifications HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n");
    (TcpStream::connect(address).await.unwrap(), head)
}

fn post(head: &str) -> String {
    format!("{head}content-length: {}\r\n\r\n{BODY}", BODY.len())
}

/// Reads until the text has come, and answers everything read.
async fn read_until(socket: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&read).contains(text) {
            let n = socket.read_buf(&mut read).await.unwrap();
            assert!(n > 0, "closed after {}", String::from_utf8_lossy(&read));
        }
    };
    let done = tokio::time::timeout(PATIENCE, reading).await;
    let text = String::from_utf8_lossy(&read).into_owned();
    assert!(done.is_ok(), "only {text}");
    text
}

#[tokio::test]
async fn a_connection_serves_one_submit_after_another_and_refusals_in_between() {
    let stage = Stage::new().await;
    let (mut socket, head) = connect(&stage).await;
    for _ in 0..3 {
        socket.write_all(post(&head).as_bytes()).await.unwrap();
        let answer = read_until(&mut socket, "\"correlation_id\"").await;
        assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
        let bad = format!("{head}content-type: text/plain\r\ncontent-length: 2\r\n\r\nhi");
        socket.write_all(bad.as_bytes()).await.unwrap();
        let answer = read_until(&mut socket, "\"correlation_id\"").await;
        assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_unread_and_the_connection_closed() {
    let stage = Stage::new().await;
    let (mut socket, head) = connect(&stage).await;
    let large = format!("{head}content-length: 1000000000\r\n\r\n");
    socket.write_all(large.as_bytes()).await.unwrap();
    let answer = read_until(&mut socket, "\"body_too_large\"").await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close"),
        "{answer}"
    );
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_its_record_and_takes_nothing_with_it() {
    let stage = Stage::with(|s| (s.config.in_flight, s.config.tenant_percent) = (1, 100)).await;
    assert_eq!(stage.post(BODY).await.status, 202);
    stage.kafka.round_trip(1, Duration::from_millis(300)).unwrap();
    let (mut socket, head) = connect(&stage).await;
    socket.write_all(post(&head).as_bytes()).await.unwrap();
    stage.until_metric("carillon_ingest_in_flight", 1.0).await;
    drop(socket);
    stage.until_metric("carillon_ingest_left_over_total", 1.0).await;
    stage.until_metric("carillon_ingest_in_flight", 0.0).await;
    stage.kafka.round_trip(1, Duration::ZERO).unwrap();
    assert_eq!(stage.records(2).await.len(), 2, "Kafka has it all the same");
}
