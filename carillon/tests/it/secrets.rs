//! Tokens come in by every way that there is, and stand in no output: not in a log at its most talkative, not in
//! a metric, not in an answer.

use carillon_testkit::installation::Installation;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends a request and gives what comes until the server or our patience ends it.
async fn answer(url: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://"))
        .await
        .unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64 * 1024];
    let mut used = 0;
    // The first bytes are enough: a server that says more than its head has said it by then.
    while used == 0 || !answer[..used].windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut answer[used..]).await.unwrap() {
            0 => break,
            n => used += n,
        }
    }
    String::from_utf8_lossy(&answer[..used]).into_owned()
}

/// The ways in; each must show the server a token.
fn requests(token: &str) -> Vec<String> {
    let body = r#"{"content":"x"}"#;
    let length = body.len();
    let post = |header: &str| {
        format!(
            "POST /v1/notifications HTTP/1.1\r\nHost: x\r\n{header}Content-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    };
    let socket =
        |query: &str, header: &str| format!("GET /ws{query} HTTP/1.1\r\nHost: x\r\n{UPGRADE}{header}\r\n");
    vec![
        post(&format!("Authorization: Bearer {token}\r\n")),
        post(&format!("Authorization: bearer  {token}\r\n")),
        post(&format!("Authorization: {token}\r\n")),
        post(&format!("Idempotency-Key: {token}\r\n")),
        format!(
            "GET /v1/notifications/{token} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        ),
        format!(
            "GET /v1/tenants/acme/deliveries?access_token={token} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ),
        socket("", &format!("Authorization: Bearer {token}\r\n")),
        socket(&format!("?access_token={token}"), ""),
        socket(&format!("?ticket={token}"), ""),
        socket(
            "",
            &format!("Sec-WebSocket-Protocol: carillon.v1, bearer.{token}\r\n"),
        ),
        format!("GET /nowhere?access_token={token} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_stands_in_no_log_no_metric_and_no_answer() {
    let installation = Installation::new(env!("CARGO_BIN_EXE_carillon"), &["--log-filter", "trace"]);
    let running = installation.start();
    installation.ready().await;
    let data = installation.data_dir().display().to_string();
    let mint = [
        "token",
        "mint",
        "--data-dir",
        &data,
        "--tenant",
        "acme",
        "--sub",
        "u1",
    ];
    let good = installation.run(&mint).trim().to_owned();
    let (head, signature) = good.rsplit_once('.').unwrap();
    let forged: String = signature.chars().rev().collect();
    let bad = format!("{head}.{forged}");
    let mut outputs = Vec::new();
    for request in [&good, &bad].into_iter().flat_map(|token| requests(token)) {
        outputs.push(answer(&installation.url(), &request).await);
    }
    let accepted = outputs.iter().filter(|o| o.starts_with("HTTP/1.1 202")).count();
    let upgraded = outputs.iter().filter(|o| o.starts_with("HTTP/1.1 101")).count();
    assert!(
        accepted >= 1 && upgraded >= 3,
        "the good token was not used: {outputs:#?}"
    );
    let metrics = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    outputs.push(answer(&installation.url(), metrics).await);
    assert_eq!(running.terminate(), Some(0));
    let log = installation.output();
    assert!(log.contains("DEBUG"), "the log was not talkative");
    outputs.push(log);
    for (what, canary) in [("good", signature), ("forged", &forged), ("payload", head)] {
        for output in &outputs {
            // What `up` prints for the first steps is a token of its own, for the tenant demo.
            let told = output.lines().find(|line| line.contains(canary));
            assert!(told.is_none(), "the {what} token is told: {told:?}");
        }
    }
}
