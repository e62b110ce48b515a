//! The roles as processes of their own, on the embedded broker and one SQLite file.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use carillon_schemas::topics::{Layout, Topics};

use crate::run::{Process, command, run, succeed};

const START: Duration = Duration::from_secs(30);

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

fn start(dir: &Path, arguments: &[&str]) -> Process {
    let log = std::fs::File::create(dir.join(format!("{}.log", arguments[0]))).unwrap();
    Process(
        command(dir, arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap(),
    )
}

/// What a role's admin port answers to `/ready`; empty while nobody answers.
fn ready(address: &str) -> String {
    get(address, "/ready")
}

fn get(address: &str, path: &str) -> String {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    ask().unwrap_or_default()
}

fn wait(what: &str, answer: impl Fn() -> String, holds: impl Fn(&str) -> bool) {
    let begun = Instant::now();
    let mut last = answer();
    while !holds(&last) {
        assert!(begun.elapsed() < START, "{what}: {last}");
        std::thread::sleep(Duration::from_millis(10));
        last = answer();
    }
}

/// Makes the topics, and sees that they are made.
fn provision(dir: &Path, kafka: &str) {
    let plan = [
        "topics",
        "plan",
        "--kafka",
        kafka,
        "--replication",
        "1",
        "--output",
        "json",
    ];
    let all = Topics::new("carillon.").all(&Layout::SINGLE).len();
    assert_eq!(succeed(dir, &plan).matches("create carillon.").count(), all);
    succeed(dir, &["topics", "apply", "--kafka", kafka, "--replication", "1"]);
    assert_eq!(succeed(dir, &plan), "{\"applied\":false,\"changes\":[]}\n");
}

#[test]
fn separate_roles_carry_a_notification_and_stop_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("secret"), "a secret that only this test uses, of 40").unwrap();
    let (kafka, ingest, fanout) = (free_port(), free_port(), free_port());
    let admin = [free_port(), free_port(), free_port()];
    let shared = [
        "--kafka",
        kafka.as_str(),
        "--store",
        "sqlite:store.db",
        "--admin-listen",
    ];
    let auth = ["--auth-hs256-secret-file", "secret"];

    let router = start(dir, &[&["router"], &shared[..], &[&admin[0]]].concat());
    wait(
        "a router without Kafka says so",
        || ready(&admin[0]),
        |answer| answer.contains("503") && answer.contains("role"),
    );
    let broker = start(
        dir,
        &["broker", "--kafka-listen", &kafka, "--data-dir", "broker-data"],
    );
    wait(
        "the broker listens",
        || format!("{:?}", TcpStream::connect(&kafka)),
        |answer| answer.starts_with("Ok"),
    );
    wait(
        "a router without topics says who makes them",
        || ready(&admin[0]),
        |answer| answer.contains("topics") && answer.contains("carillon topics apply"),
    );
    provision(dir, &kafka);
    let ingest_part = start(
        dir,
        &[&["ingest", "--listen", &ingest], &shared[..], &[&admin[1]], &auth].concat(),
    );
    let fanout_part = start(
        dir,
        &[&["fanout", "--listen", &fanout], &shared[..], &[&admin[2]], &auth].concat(),
    );
    for address in &admin {
        wait(
            "every role takes work",
            || ready(address),
            |answer| answer.contains("200 OK"),
        );
    }
    smoke(dir, &kafka, &ingest, &fanout);
    let broker = lose_the_broker(dir, &kafka, &admin, broker);
    smoke(dir, &kafka, &ingest, &fanout);
    for part in [fanout_part, ingest_part, router, broker] {
        assert_eq!(part.terminate(), Some(0));
    }
}

/// Kills the broker: every role takes no work and says why, but lives; then the broker comes back, and so do
/// they, by themselves.
fn lose_the_broker(dir: &Path, kafka: &str, admin: &[String], broker: Process) -> Process {
    drop(broker);
    for address in admin {
        wait(
            "a role that lost Kafka says so",
            || ready(address),
            |answer| answer.contains("503") && (answer.contains("kafka") || answer.contains("deliveries")),
        );
        assert!(get(address, "/health").contains("200 OK"));
    }
    let broker = start(
        dir,
        &["broker", "--kafka-listen", kafka, "--data-dir", "broker-data"],
    );
    for address in admin {
        wait(
            "a role takes work again",
            || ready(address),
            |answer| answer.contains("200 OK"),
        );
    }
    broker
}

/// Checks the running roles as an operator does.
fn smoke(dir: &Path, kafka: &str, ingest: &str, fanout: &str) {
    let mint = [
        "token",
        "mint",
        "--hs256-secret-file",
        "secret",
        "--tenant",
        "demo",
        "--sub",
        "alice",
    ];
    let token = succeed(dir, &mint);
    let (url, ws_url) = (format!("http://{ingest}"), format!("http://{fanout}"));
    let smoke = [
        "smoke",
        "--url",
        &url,
        "--ws-url",
        &ws_url,
        "--kafka",
        kafka,
        "--token",
        token.trim(),
    ];
    let ended = run(dir, &smoke);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}
